// The naive products, one sum an element: the oracle of every kernel. T is float or double.
#pragma once

#include <cstdint>

#include "bertx/sparse/csr.h"
#include "bertx/sparse/spmm.h"

namespace bertx::sparse {

template <class T>
void spmm_reference(const CsrView<T>& w, const T* x, std::int64_t ldx, T* y, std::int64_t ldy, std::int64_t tokens,
                    const Epilogue<T>& epilogue = {});

template <class T>
void spmm_transposed_reference(const CsrView<T>& w, const T* dy, std::int64_t lddy, T* dx, std::int64_t lddx,
                               std::int64_t tokens, bool accumulate = false);

template <class T>
void sddmm_reference(const CsrView<T>& pattern, const T* dy, std::int64_t lddy, const T* x, std::int64_t ldx,
                     std::int64_t tokens, T* dvalues);

}  // namespace bertx::sparse
