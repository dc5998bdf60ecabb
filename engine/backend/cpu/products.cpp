// Sparse products.
#include "backend/cpu/cpu.h"
#include "bertx/sparse/packed.h"
#include "bertx/sparse/spmm.h"

namespace bertx {

namespace {

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

class PackedWeight final : public cpu::Weight {
 public:
  explicit PackedWeight(sparse::PackedCsr weight) : weight_(std::move(weight)) {}
  std::string_view kernel() const override { return "csr-packed"; }
  std::size_t bytes() const override { return static_cast<std::size_t>(weight_.bytes()); }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    sparse::spmm_packed(weight_, x.as<float>(), x.stride, y.as<float>(), y.stride, x.cols, inside(epilogue));
  }

 private:
  sparse::PackedCsr weight_;
};

}  // namespace

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

std::unique_ptr<PreparedWeight> CpuBackend::prepare_csr(const CsrPattern& pattern, Tensor values) {
  return std::make_unique<PackedWeight>(sparse::pack(csr_view(pattern, values)));
}

void CpuBackend::apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) {
  static_cast<const cpu::Weight&>(w).apply(x, y, epilogue);
}

}  // namespace bertx
