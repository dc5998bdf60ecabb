// Sparse products.
#include "backend/cpu/cpu.h"
#include "bertx/sparse/spmm.h"
#include "bertx/sparse/training.h"

namespace bertx {

namespace {

sparse::CsrView<float> csr_view(const CsrPattern& pattern, Tensor values) {
  return {pattern.rows, pattern.cols, pattern.row_start.as<std::int32_t>(), pattern.columns.as<std::int32_t>(),
          values.as<float>()};
}

class TrainingPattern final : public PreparedPattern {
 public:
  explicit TrainingPattern(sparse::TrainingCsr csr) : matrix(std::move(csr)) {}
  std::size_t bytes() const override { return static_cast<std::size_t>(matrix.bytes()); }
  sparse::TrainingCsr matrix;
};

/// That of the pattern; null where there is none.
sparse::TrainingCsr* training_form(const CsrPattern& pattern) {
  return pattern.prepared ? &static_cast<TrainingPattern&>(*pattern.prepared).matrix : nullptr;
}

}  // namespace

std::shared_ptr<PreparedPattern> CpuBackend::prepare_pattern(const CsrPattern& pattern, Tensor values) {
  return std::make_shared<TrainingPattern>(sparse::TrainingCsr(csr_view(pattern, values)));
}

void CpuBackend::update_values(const CsrPattern& pattern, Tensor values) {
  training_form(pattern)->update(values.as<float>());
}

// Y [rows, T] = W X [cols, T]
void CpuBackend::spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) {
  if (const auto* const w = training_form(pattern)) {
    return sparse::spmm(*w, x.as<float>(), x.stride, y.as<float>(), y.stride, x.cols);
  }
  sparse::spmm(csr_view(pattern, values), x.as<float>(), x.stride, y.as<float>(), y.stride, x.cols);
}

// dX [cols, T] = Wᵀ dY [rows, T]  (+ dX)
void CpuBackend::spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) {
  if (const auto* const w = training_form(pattern)) {
    return sparse::spmm_transposed(*w, dy.as<float>(), dy.stride, dx.as<float>(), dx.stride, dy.cols,
                                   write == Write::add);
  }
  assert(!pattern.column_start.empty());
  const sparse::TransposedView transposed{pattern.column_start.as<std::int32_t>(), pattern.row_of.as<std::int32_t>(),
                                          pattern.position.as<std::int32_t>()};
  sparse::spmm_transposed(csr_view(pattern, values), transposed, dy.as<float>(), dy.stride, dx.as<float>(), dx.stride,
                          dy.cols, write == Write::add);
}

// dvalues [1, nnz] += the entries of dY [rows, T] Xᵀ [T, cols] on the pattern
void CpuBackend::sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) {
  if (const auto* const w = training_form(pattern)) {
    return sparse::sddmm(*w, dy.as<float>(), dy.stride, x.as<float>(), x.stride, x.cols, dvalues.as<float>());
  }
  sparse::sddmm(csr_view(pattern, {}), dy.as<float>(), dy.stride, x.as<float>(), x.stride, x.cols, dvalues.as<float>());
}

}  // namespace bertx
