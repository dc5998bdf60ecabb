#include "bertx/sparse/reference.h"

#include <cmath>
#include <numbers>

namespace bertx::sparse {

template <class T>
T apply_epilogue(Epilogue epilogue, T y) {
  switch (epilogue) {
    case Epilogue::none: return y;
    case Epilogue::gelu_erf: return y * T(0.5) * (T(1) + std::erf(y / std::numbers::sqrt2_v<T>));
    case Epilogue::gelu_tanh: {
      const T scale = std::numbers::sqrt2_v<T> * std::numbers::inv_sqrtpi_v<T>;
      return y * T(0.5) * (T(1) + std::tanh(scale * (y + T(0.044715) * y * y * y)));
    }
  }
  return y;
}

template <class T>
void spmm_reference(const CsrView<T>& w, const T* x, std::int64_t ldx, T* y, std::int64_t ldy, std::int64_t tokens,
                    const T* bias, Epilogue epilogue) {
  for (std::int64_t r = 0; r < w.rows; ++r) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      T sum = bias != nullptr ? bias[r] : T(0);
      for (std::int32_t n = w.row_start[r]; n < w.row_start[r + 1]; ++n) sum += w.values[n] * x[w.columns[n] * ldx + t];
      y[r * ldy + t] = apply_epilogue(epilogue, sum);
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
  template T apply_epilogue(Epilogue, T);                                                                            \
  template void spmm_reference(const CsrView<T>&, const T*, std::int64_t, T*, std::int64_t, std::int64_t, const T*,  \
                               Epilogue);                                                                            \
  template void spmm_transposed_reference(const CsrView<T>&, const T*, std::int64_t, T*, std::int64_t, std::int64_t, \
                                          bool);                                                                     \
  template void sddmm_reference(const CsrView<T>&, const T*, std::int64_t, const T*, std::int64_t, std::int64_t, T*);
BERTX_INSTANTIATE(float)
BERTX_INSTANTIATE(double)
#undef BERTX_INSTANTIATE

void spmm(const CsrView<double>& w, const double* x, std::int64_t ldx, double* y, std::int64_t ldy, std::int64_t tokens,
          const double* bias, Epilogue epilogue) {
  spmm_reference(w, x, ldx, y, ldy, tokens, bias, epilogue);
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
