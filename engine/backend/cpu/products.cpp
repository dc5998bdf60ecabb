// Dense and sparse products.
#include <algorithm>

#include "backend/cpu/cpu.h"
#include "backend/cpu/onednn.h"
#include "bertx/arena.h"
#include "bertx/sparse/packed.h"
#include "bertx/sparse/spmm.h"

namespace bertx {

namespace {

/// How far the columns of an activation may be read and written: its stride where it is a whole activation of an
/// arena; a range of columns has neighbours instead of scratch behind it.
std::int64_t columns_with_scratch(Tensor x) { return x.stride == row_stride(x.cols, DType::f32) ? x.stride : x.cols; }

sparse::CsrView<float> csr_view(const CsrPattern& pattern, Tensor values) {
  return {pattern.rows, pattern.cols, pattern.row_start.as<std::int32_t>(), pattern.columns.as<std::int32_t>(),
          values.as<float>()};
}

/// y [rows, tokens] = activation(y), as a sparse product calls it on what it has just computed.
template <cpu::Pointwise kActivation>
void activate(float* y, std::int64_t ldy, std::int64_t rows, std::int64_t tokens) {
  cpu::active_kernels().bias_activation({y, ldy}, nullptr, kActivation, {y, ldy}, {0, rows}, tokens);
}

sparse::Activation<float> activation_function(Activation activation) {
  switch (activation) {
    case Activation::none: return nullptr;
    case Activation::gelu_erf: return activate<cpu::Pointwise::gelu_erf>;
    case Activation::gelu_tanh: return activate<cpu::Pointwise::gelu_tanh>;
    case Activation::relu: return activate<cpu::Pointwise::relu>;
    case Activation::tanh: return activate<cpu::Pointwise::tanh>;
  }
  return nullptr;
}

sparse::Epilogue<float> inside(const Epilogue& epilogue) {
  return {epilogue.bias.as<float>(), activation_function(epilogue.activation), epilogue.residual.as<float>(),
          epilogue.residual.stride};
}

class PackedWeight final : public PreparedWeight {
 public:
  explicit PackedWeight(sparse::PackedCsr weight) : weight_(std::move(weight)) {}
  std::string_view kernel() const override { return "csr-packed"; }
  std::size_t bytes() const override { return static_cast<std::size_t>(weight_.bytes()); }
  const sparse::PackedCsr& weight() const { return weight_; }

 private:
  sparse::PackedCsr weight_;
};

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
  // A stride smaller than the columns can only belong to a matrix of one row, where it has no meaning.
  const auto stride = [](Tensor x) { return std::max(x.stride, x.cols); };
  cpu::dense_product(c.rows, c.cols, k, {a.as<float>(), stride(a), ta}, {b.as<float>(), stride(b), tb}, c.as<float>(),
                     stride(c), write == Write::add, std::min(columns_with_scratch(b), columns_with_scratch(c)));
}

// Y [rows, T] = W X [cols, T]
void CpuBackend::spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) {
  sparse::spmm(csr_view(pattern, values), x.as<float>(), x.stride, y.as<float>(), y.stride, x.cols);
}

// dX [cols, T] = Wᵀ dY [rows, T]  (+ dX)
void CpuBackend::spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) {
  assert(!pattern.column_start.empty());
  const sparse::TransposedView transposed{pattern.column_start.as<std::int32_t>(), pattern.row_of.as<std::int32_t>(),
                                          pattern.position.as<std::int32_t>()};
  sparse::spmm_transposed(csr_view(pattern, values), transposed, dy.as<float>(), dy.stride, dx.as<float>(), dx.stride,
                          dy.cols, write == Write::add);
}

// dvalues [1, nnz] += the entries of dY [rows, T] Xᵀ [T, cols] on the pattern
void CpuBackend::sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) {
  sparse::sddmm(csr_view(pattern, {}), dy.as<float>(), dy.stride, x.as<float>(), x.stride, x.cols, dvalues.as<float>());
}

// oneDNN gains nothing by packed weights (onednn.cpp has the figures).
std::unique_ptr<PreparedWeight> CpuBackend::prepare_dense(Tensor) { return nullptr; }

std::unique_ptr<PreparedWeight> CpuBackend::prepare_csr(const CsrPattern& pattern, Tensor values) {
  return std::make_unique<PackedWeight>(sparse::pack(csr_view(pattern, values)));
}

// Y [rows, T] = activation(W X [cols, T] + bias) + residual
void CpuBackend::apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) {
  const sparse::PackedCsr& weight = static_cast<const PackedWeight&>(w).weight();
  sparse::spmm_packed(weight, x.as<float>(), x.stride, y.as<float>(), y.stride, x.cols, inside(epilogue));
}

}  // namespace bertx
