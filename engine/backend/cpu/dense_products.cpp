// Dense products.
#include <algorithm>

#include "backend/cpu/cpu.h"
#include "backend/cpu/onednn.h"
#include "bertx/arena.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

/// How far the columns of an activation may be read and written: its stride where it is a whole activation of an
/// arena; a range of columns has neighbours instead of scratch behind it.
std::int64_t columns_with_scratch(Tensor x) { return x.stride == row_stride(x.cols, DType::f32) ? x.stride : x.cols; }

// Up to so many columns the product is bound by reading A, and few_tokens() reads it at the memory's rate: 1.4 to 2
// times oneDNN's (768x768 to 768x3072, one thread and two); at 12 columns both are equal.
constexpr std::int64_t kFewTokens = 8;

/// C [m, n] = A [m, k] B [k, n]  (+ C), n <= kFewTokens
void few_tokens_product(Tensor a, Tensor b, Tensor c, bool add) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  const std::int64_t k = a.cols, stride = row_stride(k, DType::f32);
  const cpu::Matrix by_token{cpu::scratch<float>(cpu::Scratch::kernel, kFewTokens * stride), stride};
  kernels.transposed(cpu::const_matrix(b), k, c.cols, by_token);
  constexpr std::int64_t kBlock = 16;  // rows, a multiple of any tile's
  const std::int64_t blocks = (c.rows + kBlock - 1) / kBlock;
  sparse::parallel_ranges(blocks, cpu::row_grain(kBlock * k), [&](std::int64_t first, std::int64_t last) {
    kernels.few_tokens(cpu::const_matrix(a), {by_token.data, stride}, k, c.cols, cpu::matrix(c),
                       {first * kBlock, std::min(last * kBlock, c.rows)}, add);
  });
}

}  // namespace

// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C)
void CpuBackend::gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) {
  const bool ta = trans_a == Trans::yes, tb = trans_b == Trans::yes;
  const std::int64_t k = ta ? a.rows : a.cols;
  assert((ta ? a.cols : a.rows) == c.rows && (tb ? b.rows : b.cols) == c.cols && (tb ? b.cols : b.rows) == k);
  if (c.size() == 0) return;
  if (k == 0) {
    if (write == Write::overwrite) fill(c, 0);
    return;
  }
  if (!ta && !tb && c.cols <= kFewTokens) return few_tokens_product(a, b, c, write == Write::add);
  // A stride smaller than the columns can only belong to a matrix of one row, where it has no meaning.
  const auto stride = [](Tensor x) { return std::max(x.stride, x.cols); };
  cpu::dense_product(c.rows, c.cols, k, {a.as<float>(), stride(a), ta}, {b.as<float>(), stride(b), tb}, c.as<float>(),
                     stride(c), write == Write::add, std::min(columns_with_scratch(b), columns_with_scratch(c)));
}

}  // namespace bertx
