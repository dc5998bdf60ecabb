// The three products of a CSR weight W [rows, cols] with feature-major activations [features, tokens]:
//   forward      Y  = W X + b     spmm
//   input grad   dX = Wᵀ dY       spmm_transposed
//   weight grad  dW = dY Xᵀ       sddmm, at the places of the pattern only
// Row i of an activation begins at its pointer + i * its stride (ld); strides are at least `tokens` and need no
// alignment; columns from `tokens` on are neither read nor written. Outputs must not overlap inputs.
//
// The float products run the kernels of active_isa() over OpenMP threads; the double ones are the naive
// reference. Results do not depend on the number of threads. In spmm and spmm_transposed an output element is one
// chain of multiply-adds, in the order of the columns (rows), begun with the bias: it depends on its own token only
// and has the same bits in a batch of any size, here and in spmm_packed (bertx/sparse/packed.h).
#pragma once

#include <cstdint>

#include "bertx/sparse/csr.h"

namespace bertx::sparse {

/// y [rows, tokens] = f(y), element by element; many threads call it at once, on parts of a product.
template <class T>
using Activation = void (*)(T* y, std::int64_t ldy, std::int64_t rows, std::int64_t tokens);

/// What is done to a product before it leaves the cache: y = activation(W x + bias) + residual. Null: left out.
template <class T>
struct Epilogue {
  const T* bias = nullptr;  ///< [rows]
  Activation<T> activation = nullptr;
  const T* residual = nullptr;  ///< [rows, tokens], row i at residual + i * residual_stride; it must not overlap y
  std::int64_t residual_stride = 0;
};

/// x [cols, tokens] -> y [rows, tokens] = activation(W x + bias) + residual
void spmm(const CsrView<float>& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
          const Epilogue<float>& epilogue = {});
void spmm(const CsrView<double>& w, const double* x, std::int64_t ldx, double* y, std::int64_t ldy, std::int64_t tokens,
          const Epilogue<double>& epilogue = {});

/// dy [rows, tokens] -> dx [cols, tokens] = Wᵀ dy, or dx + Wᵀ dy where `accumulate`. t is w's transposed index.
void spmm_transposed(const CsrView<float>& w, const TransposedView& t, const float* dy, std::int64_t lddy, float* dx,
                     std::int64_t lddx, std::int64_t tokens, bool accumulate = false);
void spmm_transposed(const CsrView<double>& w, const TransposedView& t, const double* dy, std::int64_t lddy, double* dx,
                     std::int64_t lddx, std::int64_t tokens, bool accumulate = false);

/// dy [rows, tokens], x [cols, tokens] -> dvalues[n] += <dy[row(n), :], x[column(n), :]> for each place n of the
/// pattern. pattern.values is not read and may be null.
void sddmm(const CsrView<float>& pattern, const float* dy, std::int64_t lddy, const float* x, std::int64_t ldx,
           std::int64_t tokens, float* dvalues);
void sddmm(const CsrView<double>& pattern, const double* dy, std::int64_t lddy, const double* x, std::int64_t ldx,
           std::int64_t tokens, double* dvalues);

}  // namespace bertx::sparse
