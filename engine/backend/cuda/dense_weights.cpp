#include "backend/cuda/dense_weights.h"

#include "backend/cuda/rounded.h"
#include "backend/cuda/sparse_arrays.h"
#include "bertx/arena.h"

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
    if (y.dtype == DType::bf16) {  // sums of f32 in between, so that there is one rounding
      const std::int64_t stride = row_stride(y.cols, DType::f32);
      const Scratch<float> sums(w.device, w.rows * stride);
      multiply(x, sums.get(), stride);
      finish_to_bf16(w.device.stream(), {sums.get(), stride}, vector(epilogue.bias), pointwise(epilogue.activation),
                     const_matrix(epilogue.residual), bf16_matrix(y), shape_of(y));
    } else {
      multiply(x, y.as<float>(), stride_of(y));
      finish(w.device, epilogue, y);
    }
  }

 private:
  void multiply(Tensor x, float* y, std::int64_t stride) const {
    const DenseMatrix& w = *matrix_;
    const Factor left{w.numbers.data.get(), w.stride, false};
    if (w.inputs == Inputs::bf16) {
      const Rounded right(w.device, x);
      dense_product(w.device, w.rows, x.cols, w.cols, left, right.factor(false), y, stride, false, w.inputs);
    } else {
      dense_product(w.device, w.rows, x.cols, w.cols, left, {x.data, stride_of(x), false}, y, stride, false, w.inputs);
    }
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
    const RoundedWeight weight{w.numbers.data.get(), w.rows, w.cols, w.stride,
                               w.inputs == Inputs::bf16 ? Cores::bf16 : Cores::tf32};
    const auto multiply = [&](sparse::cuda::Input from, bool rounded) {
      product_by_cores(w.device.stream(), cut_, weight, from, rounded, output(y), x.cols, inside(epilogue));
    };
    if (x.dtype == DType::bf16) {
      const Rounded numbers(w.device, x);
      multiply({numbers.data(), numbers.stride()}, true);
    } else {
      multiply({x.data, stride_of(x)}, false);
    }
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
    to_bf16(device.stream(), const_matrix(w), shape_of(w), {static_cast<std::uint16_t*>(to), stride});
  } else if (inputs == Inputs::tf32) {
    to_tf32(device.stream(), const_matrix(w), shape_of(w), {static_cast<float*>(to), stride});
  } else {
    copy_2d(w, {to, rows, cols, stride, DType::f32}, cudaMemcpyDeviceToDevice, device.stream());
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
  if (inputs == Inputs::bf16 && Device::get().warpgroups()) fused("dense, fused, warpgroups", ProductCut::warpgroups);
  fused("dense, fused, 256 x 128", ProductCut::largest);
  fused("dense, fused, 128 x 128", ProductCut::large);
  fused("dense, fused, 64 x 64", ProductCut::middle);
  fused("dense, fused, 32 x 32", ProductCut::small);
  return out;
}

}  // namespace bertx::cuda
