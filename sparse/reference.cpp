#include "bertx/sparse/reference.h"

namespace bertx::sparse {

template <class T>
void spmm_reference(const CsrView<T>& w, const T* x, std::int64_t ldx, T* y, std::int64_t ldy, std::int64_t tokens,
                    const Epilogue<T>& epilogue) {
  for (std::int64_t r = 0; r < w.rows; ++r) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      T sum = epilogue.bias != nullptr ? epilogue.bias[r] : T(0);
      for (std::int32_t n = w.row_start[r]; n < w.row_start[r + 1]; ++n) sum += w.values[n] * x[w.columns[n] * ldx + t];
      T& out = y[r * ldy + t];
      out = sum;
      if (epilogue.activation != nullptr) epilogue.activation(&out, 1, 1, 1);
      if (epilogue.residual != nullptr) out += epilogue.residual[r * epilogue.residual_stride + t];
    }
  }
}

template <class T>
void spmm_transposed_reference(const CsrView<T>& w, const T* dy, std::int64_t lddy, T* dx, std::int64_t lddx,
                               std::int64_t tokens, bool accumulate) {
  for (std::int64_t c = 0; c < w.cols && !accumulate; ++c) {
    for (std::int64_t t = 0; t < tokens; ++t) dx[c * lddx + t] = T(0);
  }
  for (std::int64_t r = 0; r < w.rows; ++r) {
    for (std::int32_t n = w.row_start[r]; n < w.row_start[r + 1]; ++n) {
      for (std::int64_t t = 0; t < tokens; ++t) dx[w.columns[n] * lddx + t] += w.values[n] * dy[r * lddy + t];
    }
  }
}

template <class T>
void sddmm_reference(const CsrView<T>& pattern, const T* dy, std::int64_t lddy, const T* x, std::int64_t ldx,
                     std::int64_t tokens, T* dvalues) {
  for (std::int64_t r = 0; r < pattern.rows; ++r) {
    for (std::int32_t n = pattern.row_start[r]; n < pattern.row_start[r + 1]; ++n) {
      T sum = T(0);
      for (std::int64_t t = 0; t < tokens; ++t) sum += dy[r * lddy + t] * x[pattern.columns[n] * ldx + t];
      dvalues[n] += sum;
    }
  }
}

#define BERTX_INSTANTIATE(T)                                                                                         \
  template void spmm_reference(const CsrView<T>&, const T*, std::int64_t, T*, std::int64_t, std::int64_t,            \
                               const Epilogue<T>&);                                                                  \
  template void spmm_transposed_reference(const CsrView<T>&, const T*, std::int64_t, T*, std::int64_t, std::int64_t, \
                                          bool);                                                                     \
  template void sddmm_reference(const CsrView<T>&, const T*, std::int64_t, const T*, std::int64_t, std::int64_t, T*);
BERTX_INSTANTIATE(float)
BERTX_INSTANTIATE(double)
#undef BERTX_INSTANTIATE

void spmm(const CsrView<double>& w, const double* x, std::int64_t ldx, double* y, std::int64_t ldy, std::int64_t tokens,
          const Epilogue<double>& epilogue) {
  spmm_reference(w, x, ldx, y, ldy, tokens, epilogue);
}

void spmm_transposed(const CsrView<double>& w, const TransposedView&, const double* dy, std::int64_t lddy, double* dx,
                     std::int64_t lddx, std::int64_t tokens, bool accumulate) {
  spmm_transposed_reference(w, dy, lddy, dx, lddx, tokens, accumulate);
}

void sddmm(const CsrView<double>& pattern, const double* dy, std::int64_t lddy, const double* x, std::int64_t ldx,
           std::int64_t tokens, double* dvalues) {
  sddmm_reference(pattern, dy, lddy, x, ldx, tokens, dvalues);
}

}  // namespace bertx::sparse
