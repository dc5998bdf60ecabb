#include "bertx/sparse/spmm.h"

#include "bertx/sparse/reference.h"

namespace bertx::sparse {

void spmm(const CsrView<float>& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
          const float* bias, Epilogue epilogue) {
  spmm_reference(w, x, ldx, y, ldy, tokens, bias, epilogue);
}

void spmm_transposed(const CsrView<float>& w, const TransposedView&, const float* dy, std::int64_t lddy, float* dx,
                     std::int64_t lddx, std::int64_t tokens, bool accumulate) {
  spmm_transposed_reference(w, dy, lddy, dx, lddx, tokens, accumulate);
}

void sddmm(const CsrView<float>& pattern, const float* dy, std::int64_t lddy, const float* x, std::int64_t ldx,
           std::int64_t tokens, float* dvalues) {
  sddmm_reference(pattern, dy, lddy, x, ldx, tokens, dvalues);
}

}  // namespace bertx::sparse
