// Dense and sparse products.
#include <stdexcept>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at, reference::index_at;

// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C)
void ReferenceBackend::gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) {
  const bool ta = trans_a == Trans::yes, tb = trans_b == Trans::yes;
  const std::int64_t k = ta ? a.rows : a.cols;
  assert((ta ? a.cols : a.rows) == c.rows && (tb ? b.rows : b.cols) == c.cols && (tb ? b.cols : b.rows) == k);
  for (std::int64_t i = 0; i < c.rows; ++i) {
    for (std::int64_t j = 0; j < c.cols; ++j) {
      double sum = 0;
      for (std::int64_t p = 0; p < k; ++p) sum += (ta ? at(a, p, i) : at(a, i, p)) * (tb ? at(b, j, p) : at(b, p, j));
      at(c, i, j) = write == Write::add ? at(c, i, j) + sum : sum;
    }
  }
}

// Y [rows, T] = W X [cols, T]
void ReferenceBackend::spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) {
  fill(y, 0);
  for (std::int64_t i = 0; i < pattern.rows; ++i) {
    for (std::int64_t e = index_at(pattern.row_start, i); e < index_at(pattern.row_start, i + 1); ++e) {
      const std::int64_t column = index_at(pattern.columns, e);
      for (std::int64_t t = 0; t < x.cols; ++t) at(y, i, t) += at(values, 0, e) * at(x, column, t);
    }
  }
}

// dX [cols, T] = Wᵀ dY [rows, T]  (+ dX). The transposed index is not needed by a loop that scatters.
void ReferenceBackend::spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) {
  if (write == Write::overwrite) fill(dx, 0);
  for (std::int64_t i = 0; i < pattern.rows; ++i) {
    for (std::int64_t e = index_at(pattern.row_start, i); e < index_at(pattern.row_start, i + 1); ++e) {
      const std::int64_t column = index_at(pattern.columns, e);
      for (std::int64_t t = 0; t < dy.cols; ++t) at(dx, column, t) += at(values, 0, e) * at(dy, i, t);
    }
  }
}

// dvalues [1, nnz] += the entries of dY [rows, T] Xᵀ [T, cols] on the pattern
void ReferenceBackend::sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) {
  for (std::int64_t i = 0; i < pattern.rows; ++i) {
    for (std::int64_t e = index_at(pattern.row_start, i); e < index_at(pattern.row_start, i + 1); ++e) {
      const std::int64_t column = index_at(pattern.columns, e);
      double sum = 0;
      for (std::int64_t t = 0; t < x.cols; ++t) sum += at(dy, i, t) * at(x, column, t);
      at(dvalues, 0, e) += sum;
    }
  }
}

std::unique_ptr<PreparedWeight> ReferenceBackend::prepare_dense(Tensor) { return nullptr; }
std::unique_ptr<PreparedWeight> ReferenceBackend::prepare_csr(const CsrPattern&, Tensor) { return nullptr; }
void ReferenceBackend::apply(const PreparedWeight&, Tensor, Tensor, const Epilogue&) {
  throw std::logic_error("the reference backend prepares no weight, so there is none to apply");
}

}  // namespace bertx
