// Sparse products of training; the kernels are those of sparse/cuda.
#include <algorithm>
#include <vector>

#include "backend/cuda/cuda.h"
#include "backend/cuda/sparse_arrays.h"

namespace bertx {

namespace {

using cuda::check, cuda::Device, cuda::input, cuda::output, cuda::Scratch;
namespace device_sparse = sparse::cuda;

/// Orders of the rows of W and Wᵀ, so that rows that share a warp are about equally long, and the values of Wᵀ.
class TrainingPattern final : public PreparedPattern {
 public:
  TrainingPattern(Device& device, const CsrPattern& pattern)
      : nnz_(pattern.nnz),
        order_(cuda::order_of(device, pattern.rows, pattern.row_start)),
        transposed_order_(cuda::order_of(device, pattern.cols, pattern.column_start)),
        values_(device, pattern.nnz),
        transposed_(device, pattern.nnz) {}
  std::size_t bytes() const override {
    return order_.bytes + transposed_order_.bytes + 2 * static_cast<std::size_t>(nnz_) * sizeof(float);
  }
  void update(Device& device, const CsrPattern& pattern, Tensor values) {
    if (nnz_ == 0) return;
    check(cudaMemcpyAsync(values_.get(), values.data, static_cast<std::size_t>(nnz_) * sizeof(float),
                          cudaMemcpyDeviceToDevice, device.stream()),
          "copy");
    check(static_cast<cudaError_t>(device_sparse::permute(
              device.stream(), values_.get(), pattern.position.as<std::int32_t>(), nnz_, transposed_.get())),
          "values of a sparse matrix");
  }
  const float* values() const { return values_.get(); }
  const float* transposed() const { return transposed_.get(); }
  const std::int32_t* order() const { return static_cast<const std::int32_t*>(order_.data.get()); }
  const std::int32_t* transposed_order() const {
    return static_cast<const std::int32_t*>(transposed_order_.data.get());
  }

 private:
  std::int64_t nnz_;
  Buffer order_, transposed_order_;
  Scratch<float> values_, transposed_;
};

/// That of the pattern; null where there is none.
TrainingPattern* training_form(const CsrPattern& pattern) {
  return static_cast<TrainingPattern*>(pattern.prepared.get());
}

device_sparse::Csr csr_of(const CsrPattern& pattern, const float* values, const std::int32_t* order) {
  return {pattern.rows,
          pattern.cols,
          pattern.nnz,
          pattern.row_start.as<std::int32_t>(),
          pattern.columns.as<std::int32_t>(),
          values,
          device_sparse::Number::f32,
          order};
}

void product(Device& device, const device_sparse::Csr& w, Tensor x, Tensor y, bool add) {
  device_sparse::Epilogue epilogue;
  epilogue.add = add;
  check(static_cast<cudaError_t>(
            device_sparse::spmm(device.stream(), w, input(x), output(y), x.cols, epilogue,
                                device_sparse::usual_form(w.rows, x.cols, device_sparse::Number::f32))),
        "sparse product");
}

}  // namespace

std::shared_ptr<PreparedPattern> CudaBackend::prepare_pattern(const CsrPattern& pattern, Tensor values) {
  if (pattern.column_start.empty()) return nullptr;
  auto prepared = std::make_shared<TrainingPattern>(device_, pattern);
  prepared->update(device_, pattern, values);
  return prepared;
}

void CudaBackend::update_values(const CsrPattern& pattern, Tensor values) {
  training_form(pattern)->update(device_, pattern, values);
}

// Y [rows, T] = W X [cols, T]
void CudaBackend::spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) {
  const TrainingPattern* const form = training_form(pattern);
  product(device_, csr_of(pattern, form ? form->values() : values.as<float>(), form ? form->order() : nullptr), x, y,
          false);
}

// dX [cols, T] = Wᵀ dY [rows, T]  (+ dX): the product with the matrix that the transposed index describes.
void CudaBackend::spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) {
  assert(!pattern.column_start.empty());
  const TrainingPattern* const form = training_form(pattern);
  const Scratch<float> permuted(device_, form ? 0 : pattern.nnz);
  if (!form) {
    check(static_cast<cudaError_t>(device_sparse::permute(
              device_.stream(), values.as<float>(), pattern.position.as<std::int32_t>(), pattern.nnz, permuted.get())),
          "values of a sparse matrix");
  }
  const device_sparse::Csr transposed{pattern.cols,
                                      pattern.rows,
                                      pattern.nnz,
                                      pattern.column_start.as<std::int32_t>(),
                                      pattern.row_of.as<std::int32_t>(),
                                      form ? form->transposed() : permuted.get(),
                                      device_sparse::Number::f32,
                                      form ? form->transposed_order() : nullptr};
  product(device_, transposed, dy, dx, write == Write::add);
}

// dvalues [1, nnz] += the entries of dY [rows, T] Xᵀ [T, cols] on the pattern
void CudaBackend::sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) {
  const TrainingPattern* const form = training_form(pattern);
  check(static_cast<cudaError_t>(device_sparse::sddmm(device_.stream(),
                                                      csr_of(pattern, nullptr, form ? form->order() : nullptr),
                                                      input(dy), input(x), x.cols, dvalues.as<float>())),
        "gradient of a sparse matrix");
}

}  // namespace bertx
