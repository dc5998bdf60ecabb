// Dense products: of a few tokens by own kernels, of more by oneDNN; with f32 inputs or with inputs rounded to bf16.
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

// A stride smaller than the columns can only belong to a matrix of one row, where it has no meaning.
std::int64_t stride_of(Tensor x) { return std::max(x.stride, x.cols); }

// Up to so many columns the product is bound by reading A, and few_tokens() reads it at the memory's rate: 1.4 to 2
// times oneDNN's (768x768 to 768x3072, one thread and two); at 12 columns both are equal.
constexpr std::int64_t kFewTokens = 8;

/// C [m, n] = A [m, k] B [k, n]  (+ C), n <= kFewTokens; `kernel` is that of A's type.
template <class Weights, class Kernel>
void few_tokens_product(Kernel* kernel, Weights a, Tensor b, Tensor c, bool add, bool rounded) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  const std::int64_t k = b.rows, stride = row_stride(k, DType::f32);
  const cpu::Matrix by_token{cpu::scratch<float>(cpu::Scratch::kernel, kFewTokens * stride), stride};
  kernels.transposed(cpu::const_matrix(b), k, c.cols, by_token);
  if (rounded) kernels.round_to_bf16({by_token.data, stride}, k, by_token, {0, c.cols});
  constexpr std::int64_t kBlock = 16;  // rows, a multiple of any tile's
  const std::int64_t blocks = (c.rows + kBlock - 1) / kBlock;
  sparse::parallel_ranges(blocks, cpu::row_grain(kBlock * k), [&](std::int64_t first, std::int64_t last) {
    kernel(a, {by_token.data, stride}, k, c.cols, cpu::matrix(c), {first * kBlock, std::min(last * kBlock, c.rows)},
           add);
  });
}

void f32_product(bool ta, bool tb, Tensor a, Tensor b, Tensor c, bool add) {
  if (!ta && !tb && c.cols <= kFewTokens) {
    return few_tokens_product(cpu::active_kernels().few_tokens, cpu::const_matrix(a), b, c, add, false);
  }
  cpu::dense_product(c.rows, c.cols, ta ? a.rows : a.cols, {a.data, stride_of(a), ta}, {b.data, stride_of(b), tb},
                     c.as<float>(), stride_of(c), add, std::min(columns_with_scratch(b), columns_with_scratch(c)));
}

// ---- bf16 -----------------------------------------------------------------------------------------------------------

/// Columns of a bf16 matrix in memory: zeros fill up to a multiple of what kernels and primitives work in.
std::int64_t bf16_width(std::int64_t cols) { return (cols + 31) / 32 * 32; }
std::int64_t bf16_stride(std::int64_t cols) { return row_stride(bf16_width(cols), DType::bf16); }

/// x [rows, cols] -> to [rows, bf16_width(cols)]
cpu::ConstHalfMatrix to_bf16(Tensor x, std::uint16_t* to) {
  const cpu::HalfMatrix out{to, bf16_stride(x.cols)};
  auto* const kernel = cpu::active_kernels().to_bf16;
  sparse::parallel_ranges(x.rows, cpu::row_grain(x.cols), [&](std::int64_t first, std::int64_t last) {
    kernel(cpu::const_matrix(x), x.cols, bf16_width(x.cols), out, {first, last});
  });
  return {to, out.stride};
}
cpu::ConstHalfMatrix to_bf16(Tensor x, cpu::Scratch where) {
  return to_bf16(x, cpu::scratch<std::uint16_t>(where, x.rows * bf16_stride(x.cols)));
}

/// C [m, n] = W [m, k] X [k, n], W in bf16
void bf16_forward(cpu::ConstHalfMatrix w, Tensor x, Tensor c, bool add) {
  if (c.cols <= kFewTokens) return few_tokens_product(cpu::active_kernels().few_tokens_bf16, w, x, c, add, true);
  const cpu::ConstHalfMatrix right = to_bf16(x, cpu::Scratch::right);
  cpu::dense_product(c.rows, c.cols, x.rows, {w.data, w.stride, false, DType::bf16},
                     {right.data, right.stride, false, DType::bf16}, c.as<float>(), stride_of(c), add,
                     columns_with_scratch(c));
}

void bf16_product(bool ta, bool tb, Tensor a, Tensor b, Tensor c, bool add) {
  const cpu::ConstHalfMatrix left = to_bf16(a, cpu::Scratch::left);
  if (!ta && !tb) return bf16_forward(left, b, c, add);
  const cpu::ConstHalfMatrix right = to_bf16(b, cpu::Scratch::right);
  // Where both have k along their rows, as in dW = dY Xᵀ, the zeros behind them round it up.
  const std::int64_t k = ta ? a.rows : tb ? bf16_width(a.cols) : a.cols;
  cpu::dense_product(c.rows, c.cols, k, {left.data, left.stride, ta, DType::bf16},
                     {right.data, right.stride, tb, DType::bf16}, c.as<float>(), stride_of(c), add,
                     columns_with_scratch(c));
}

/// Without bf16 instructions: x rounded, as floats, whose products are then exact.
Tensor rounded(Tensor x, cpu::Scratch where) {
  const std::int64_t stride = row_stride(x.cols, DType::f32);
  const Tensor out{cpu::scratch<float>(where, x.rows * stride), x.rows, x.cols, stride, DType::f32};
  auto* const kernel = cpu::active_kernels().round_to_bf16;
  sparse::parallel_ranges(x.rows, cpu::row_grain(x.cols), [&](std::int64_t first, std::int64_t last) {
    kernel(cpu::const_matrix(x), x.cols, cpu::matrix(out), {first, last});
  });
  return out;
}

class Bf16Weight final : public cpu::Weight {
 public:
  Bf16Weight(CpuBackend& backend, Tensor w) : backend_(backend), rows_(w.rows), cols_(w.cols) {
    buffer_ = backend.allocate(static_cast<std::size_t>(rows_ * bf16_stride(cols_)) * sizeof(std::uint16_t));
    to_bf16(w, static_cast<std::uint16_t*>(buffer_.data.get()));
  }
  std::string_view kernel() const override { return "dense-bf16"; }
  std::size_t bytes() const override { return buffer_.bytes; }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    assert(x.rows == cols_ && y.rows == rows_ && x.cols == y.cols);
    if (y.size() == 0) return;
    bf16_forward({static_cast<const std::uint16_t*>(buffer_.data.get()), bf16_stride(cols_)}, x, y, false);
    apply_epilogue(backend_, epilogue, y);
  }

 private:
  CpuBackend& backend_;
  Buffer buffer_;
  std::int64_t rows_, cols_;
};

}  // namespace

std::unique_ptr<cpu::Weight> cpu::bf16_weight(CpuBackend& backend, Tensor w) {
  return std::make_unique<Bf16Weight>(backend, w);
}

// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C)
void CpuBackend::gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) {
  const bool ta = trans_a == Trans::yes, tb = trans_b == Trans::yes, add = write == Write::add;
  assert((ta ? a.cols : a.rows) == c.rows && (tb ? b.rows : b.cols) == c.cols);
  assert((ta ? a.rows : a.cols) == (tb ? b.cols : b.rows));
  if (c.size() == 0) return;
  if ((ta ? a.rows : a.cols) == 0) {
    if (!add) fill(c, 0);
  } else if (options_.products == DType::f32) {
    f32_product(ta, tb, a, b, c, add);
  } else if (cpu::bf16_products()) {
    bf16_product(ta, tb, a, b, c, add);
  } else {
    f32_product(ta, tb, rounded(a, cpu::Scratch::left), rounded(b, cpu::Scratch::right), c, add);
  }
}

}  // namespace bertx
