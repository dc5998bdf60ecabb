// Compressed sparse row matrices: the view that products take, the transposed index that backward needs,
// conversions from and to dense, and the check of untrusted arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bertx::sparse {

/// A matrix [rows, cols] in somebody else's memory. Invariants (validate() checks them; products rely on them):
/// row_start has rows + 1 entries, begins with 0, never falls and ends with nnz; row r owns the places
/// [row_start[r], row_start[r + 1]) of columns and values; columns ascend strictly in a row and lie in [0, cols).
/// A stored value may be 0: the pattern is what is stored.
template <class T>
struct CsrView {
  std::int64_t rows = 0, cols = 0;
  const std::int32_t* row_start = nullptr;  ///< [rows + 1]
  const std::int32_t* columns = nullptr;    ///< [nnz]
  const T* values = nullptr;                ///< [nnz]; products that need only the pattern never read it

  std::int64_t nnz() const { return rows == 0 ? 0 : row_start[rows]; }
};

/// A CSR matrix that owns its arrays.
template <class T>
struct CsrMatrix {
  std::int64_t rows = 0, cols = 0;
  std::vector<std::int32_t> row_start{0}, columns;
  std::vector<T> values;

  CsrView<T> view() const { return {rows, cols, row_start.data(), columns.data(), values.data()}; }
};

/// The same pattern walked by columns. Column c owns the places [column_start[c], column_start[c + 1]) of
/// rows (ascending) and positions; positions say where in the CSR's values an entry lies. It holds no values,
/// so it outlives every update of them.
struct TransposedView {
  const std::int32_t* column_start = nullptr;  ///< [cols + 1]
  const std::int32_t* rows = nullptr;          ///< [nnz]
  const std::int32_t* positions = nullptr;     ///< [nnz]
};

/// A TransposedView that owns its arrays.
struct TransposedIndex {
  std::vector<std::int32_t> column_start{0}, row_of, position;

  TransposedView view() const { return {column_start.data(), row_of.data(), position.data()}; }
};

/// Builds the transposed index of a valid pattern.
TransposedIndex build_transposed(std::int64_t rows, std::int64_t cols, const std::int32_t* row_start,
                                 const std::int32_t* columns);
/// The same into the caller's arrays: column_start [cols + 1], row_of [nnz], position [nnz].
void build_transposed(std::int64_t rows, std::int64_t cols, const std::int32_t* row_start, const std::int32_t* columns,
                      std::int32_t* column_start, std::int32_t* row_of, std::int32_t* position);

/// dense [rows, cols] with `stride` elements from row to row -> the elements that are not zero (NaN is not).
/// Throws Error(bad_input) where they are more than 32-bit indices can count.
template <class T>
CsrMatrix<T> csr_from_dense(const T* dense, std::int64_t stride, std::int64_t rows, std::int64_t cols);

/// The same by a mask [rows, cols]: what has a nonzero mask is kept, a weight of exactly 0 too.
template <class T>
CsrMatrix<T> csr_from_masked(const T* dense, std::int64_t stride, const std::uint8_t* mask, std::int64_t mask_stride,
                             std::int64_t rows, std::int64_t cols);

/// Writes all of dense [rows, cols]: the values, and 0 elsewhere.
template <class T>
void csr_to_dense(const CsrView<T>& w, T* dense, std::int64_t stride);

/// Checks arrays that come from a file against the invariants of CsrView for a matrix [rows, cols].
/// Throws Error(bad_input) whose text begins with `name` and says which array, where, what was found and what
/// was expected. Reads nothing outside the spans.
void validate(std::int64_t rows, std::int64_t cols, std::span<const std::int32_t> row_start,
              std::span<const std::int32_t> columns, std::int64_t value_count, std::string_view name);

}  // namespace bertx::sparse
