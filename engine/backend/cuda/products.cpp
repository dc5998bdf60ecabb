// Dense products: with f32 inputs, TF32, or inputs rounded to bf16.
#include "backend/cuda/cuda.h"
#include "backend/cuda/rounded.h"

namespace bertx {

using cuda::Inputs, cuda::Rounded, cuda::stride_of;

// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C)
void CudaBackend::gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) {
  const bool ta = trans_a == Trans::yes, tb = trans_b == Trans::yes, add = write == Write::add;
  const std::int64_t k = ta ? a.rows : a.cols;
  assert((ta ? a.cols : a.rows) == c.rows && (tb ? b.rows : b.cols) == c.cols && (tb ? b.cols : b.rows) == k);
  if (c.size() == 0) return;
  if (k == 0) {
    if (!add) fill(c, 0);
  } else if (dense_inputs() == Inputs::bf16) {
    const Rounded left(device_, a), right(device_, b);
    cuda::dense_product(device_, c.rows, c.cols, k, left.factor(ta), right.factor(tb), c.as<float>(), stride_of(c), add,
                        Inputs::bf16);
  } else {
    cuda::dense_product(device_, c.rows, c.cols, k, {a.data, stride_of(a), ta}, {b.data, stride_of(b), tb},
                        c.as<float>(), stride_of(c), add, dense_inputs());
  }
}

}  // namespace bertx
