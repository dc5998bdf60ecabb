// Dense products: with f32 inputs, TF32, or inputs rounded to bf16.
#include <algorithm>

#include "backend/cuda/cuda.h"
#include "backend/cuda/rounded.h"

namespace bertx {

namespace {

using cuda::Device, cuda::Inputs, cuda::Rounded;

// A stride smaller than the columns can only belong to a matrix of one row, where it has no meaning.
std::int64_t stride_of(Tensor x) { return std::max(x.stride, x.cols); }

/// W [out, in] in bf16, made once.
class Bf16Weight final : public cuda::Weight {
 public:
  explicit Bf16Weight(Tensor w) : device_(Device::get()), rows_(w.rows), cols_(w.cols), bits_(device_, w) {}
  std::string_view kernel() const override { return "dense-bf16"; }
  std::size_t bytes() const override { return bits_.bytes(); }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    assert(x.rows == cols_ && y.rows == rows_ && x.cols == y.cols);
    if (y.size() == 0) return;
    const Rounded right(device_, x);
    cuda::dense_product(device_, rows_, x.cols, cols_, bits_.factor(false), right.factor(false), y.as<float>(),
                        stride_of(y), false, Inputs::bf16);
    cuda::finish(device_, epilogue, y);
  }

 private:
  Device& device_;
  std::int64_t rows_, cols_;
  Rounded bits_;
};

}  // namespace

std::unique_ptr<cuda::Weight> cuda::bf16_weight(Tensor w) { return std::make_unique<Bf16Weight>(w); }

// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C)
void CudaBackend::gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) {
  const bool ta = trans_a == Trans::yes, tb = trans_b == Trans::yes, add = write == Write::add;
  const std::int64_t k = ta ? a.rows : a.cols;
  assert((ta ? a.cols : a.rows) == c.rows && (tb ? b.rows : b.cols) == c.cols && (tb ? b.cols : b.rows) == k);
  if (c.size() == 0) return;
  if (k == 0) {
    if (!add) fill(c, 0);
  } else if (options_.products == DType::bf16) {
    const Rounded left(device_, a), right(device_, b);
    cuda::dense_product(device_, c.rows, c.cols, k, left.factor(ta), right.factor(tb), c.as<float>(), stride_of(c), add,
                        Inputs::bf16);
  } else {
    cuda::dense_product(device_, c.rows, c.cols, k, {a.data, stride_of(a), ta}, {b.data, stride_of(b), tb},
                        c.as<float>(), stride_of(c), add, options_.tf32 ? Inputs::tf32 : Inputs::f32);
  }
}

}  // namespace bertx
