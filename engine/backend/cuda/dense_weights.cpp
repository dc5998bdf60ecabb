#include "backend/cuda/dense_weights.h"

#include "backend/cuda/rounded.h"
#include "backend/cuda/sparse_arrays.h"

namespace bertx::cuda {
namespace {

using Shared = std::shared_ptr<const DenseMatrix>;

class DenseForm : public Weight {
 public:
  explicit DenseForm(Shared matrix) : matrix_(std::move(matrix)) {}
  std::size_t bytes() const override { return matrix_->numbers.bytes; }
  const void* storage() const override { return matrix_.get(); }

 protected:
  const Shared matrix_;
};

/// By cuBLASLt, with passes over activations before and behind it where bf16 or an epilogue needs them.
class LibraryForm final : public DenseForm {
 public:
  using DenseForm::DenseForm;
  std::string_view kernel() const override { return matrix_->inputs == Inputs::bf16 ? "dense-bf16" : "dense"; }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    const DenseMatrix& w = *matrix_;
    assert(x.rows == w.cols && y.rows == w.rows && x.cols == y.cols);
    if (y.size() == 0) return;
    const auto multiply = [&](Factor right) {
      dense_product(w.device, w.rows, x.cols, w.cols, {w.numbers.data.get(), w.stride, false}, right, y.as<float>(),
                    stride_of(y), false, w.inputs);
    };
    if (w.inputs == Inputs::bf16) {
      multiply(Rounded(w.device, x).factor(false));
    } else {
      multiply({x.data, stride_of(x), false});
    }
    finish(w.device, epilogue, y);
  }
};

/// By an own kernel in one pass.
class FusedForm final : public DenseForm {
 public:
  FusedForm(Shared matrix, ProductCut cut) : DenseForm(std::move(matrix)), cut_(cut) {}
  std::string_view kernel() const override {
    return matrix_->inputs == Inputs::bf16 ? "dense-bf16-fused" : "dense-tf32-fused";
  }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    const DenseMatrix& w = *matrix_;
    assert(x.rows == w.cols && y.rows == w.rows && x.cols == y.cols);
    product_by_cores(
        w.device.stream(), cut_,
        {w.numbers.data.get(), w.rows, w.cols, w.stride, w.inputs == Inputs::bf16 ? Cores::bf16 : Cores::tf32},
        {x.as<float>(), stride_of(x)}, {y.as<float>(), stride_of(y)}, x.cols, inside(epilogue));
  }

 private:
  ProductCut cut_;
};

}  // namespace

DenseMatrix::DenseMatrix(Device& on, Tensor w, Inputs type)
    : device(on), inputs(type), rows(w.rows), cols(w.cols), stride((w.cols + 7) / 8 * 8) {
  const std::size_t size = inputs == Inputs::bf16 ? sizeof(std::uint16_t) : sizeof(float);
  numbers = device.allocate(static_cast<std::size_t>(rows * stride) * size);
  void* const to = numbers.data.get();
  if (inputs == Inputs::bf16) {
    to_bf16(device.stream(), const_matrix(w), shape_of(w), static_cast<std::uint16_t*>(to), stride);
  } else if (inputs == Inputs::tf32) {
    to_tf32(device.stream(), const_matrix(w), shape_of(w), {static_cast<float*>(to), stride});
  } else {
    const auto row_bytes = [](std::int64_t columns) { return static_cast<std::size_t>(columns) * sizeof(float); };
    check(cudaMemcpy2DAsync(to, row_bytes(stride), w.data, row_bytes(stride_of(w)), row_bytes(cols),
                            static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, device.stream()),
          "copy");
  }
}

std::vector<Candidate> dense_candidates(Inputs inputs, std::function<Shared()> matrix) {
  const auto shared = [matrix = std::move(matrix), made = std::make_shared<Shared>()] {
    if (*made == nullptr) *made = matrix();
    return *made;
  };
  std::vector<Candidate> out;
  out.push_back(
      {inputs == Inputs::bf16 ? "dense-bf16" : "dense", [shared] { return std::make_unique<LibraryForm>(shared()); }});
  if (inputs == Inputs::f32 || !tuning_wanted()) return out;
  const auto fused = [&](const char* name, ProductCut cut) {
    out.push_back({name, [shared, cut] { return std::make_unique<FusedForm>(shared(), cut); }});
  };
  fused("dense, fused, 128 x 128", ProductCut::large);
  fused("dense, fused, 64 x 64", ProductCut::middle);
  fused("dense, fused, 32 x 32", ProductCut::small);
  return out;
}

}  // namespace bertx::cuda
