#include "bertx/sparse/csr.h"

#include <algorithm>
#include <limits>

#include "bertx/error.h"

namespace bertx::sparse {
namespace {

constexpr std::int64_t kMostEntries = std::numeric_limits<std::int32_t>::max();

/// kept(r, c) and value(r, c) -> CSR [rows, cols].
template <class T, class Kept, class Value>
CsrMatrix<T> gather(std::int64_t rows, std::int64_t cols, const Kept& kept, const Value& value) {
  CsrMatrix<T> out;
  out.rows = rows;
  out.cols = cols;
  out.row_start.assign(static_cast<std::size_t>(rows) + 1, 0);
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) count += kept(r, c);
    if (count > kMostEntries) {
      fail(ErrorKind::bad_input, "a sparse matrix of ", rows, " x ", cols, " keeps more than ", kMostEntries,
           " elements by row ", r, "; 32-bit indices end there");
    }
    out.row_start[static_cast<std::size_t>(r) + 1] = static_cast<std::int32_t>(count);
  }
  out.columns.reserve(static_cast<std::size_t>(count));
  out.values.reserve(static_cast<std::size_t>(count));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      if (!kept(r, c)) continue;
      out.columns.push_back(static_cast<std::int32_t>(c));
      out.values.push_back(value(r, c));
    }
  }
  return out;
}

}  // namespace

template <class T>
CsrMatrix<T> csr_from_dense(const T* dense, std::int64_t stride, std::int64_t rows, std::int64_t cols) {
  const auto value = [&](std::int64_t r, std::int64_t c) { return dense[r * stride + c]; };
  return gather<T>(
      rows, cols, [&](std::int64_t r, std::int64_t c) { return value(r, c) != T(0); }, value);
}

template <class T>
CsrMatrix<T> csr_from_masked(const T* dense, std::int64_t stride, const std::uint8_t* mask, std::int64_t mask_stride,
                             std::int64_t rows, std::int64_t cols) {
  const auto kept = [&](std::int64_t r, std::int64_t c) { return mask[r * mask_stride + c] != 0; };
  return gather<T>(rows, cols, kept, [&](std::int64_t r, std::int64_t c) { return dense[r * stride + c]; });
}

template <class T>
void csr_to_dense(const CsrView<T>& w, T* dense, std::int64_t stride) {
  for (std::int64_t r = 0; r < w.rows; ++r) {
    std::fill_n(dense + r * stride, w.cols, T(0));
    for (std::int32_t n = w.row_start[r]; n < w.row_start[r + 1]; ++n) dense[r * stride + w.columns[n]] = w.values[n];
  }
}

#define BERTX_INSTANTIATE(T)                                                                                     \
  template CsrMatrix<T> csr_from_dense(const T*, std::int64_t, std::int64_t, std::int64_t);                      \
  template CsrMatrix<T> csr_from_masked(const T*, std::int64_t, const std::uint8_t*, std::int64_t, std::int64_t, \
                                        std::int64_t);                                                           \
  template void csr_to_dense(const CsrView<T>&, T*, std::int64_t);
BERTX_INSTANTIATE(float)
BERTX_INSTANTIATE(double)
#undef BERTX_INSTANTIATE

TransposedIndex build_transposed(std::int64_t rows, std::int64_t cols, const std::int32_t* row_start,
                                 const std::int32_t* columns) {
  const std::size_t nnz = rows == 0 ? 0 : static_cast<std::size_t>(row_start[rows]);
  TransposedIndex t;
  t.column_start.resize(static_cast<std::size_t>(cols) + 1);
  t.row_of.resize(nnz);
  t.position.resize(nnz);
  build_transposed(rows, cols, row_start, columns, t.column_start.data(), t.row_of.data(), t.position.data());
  return t;
}

void build_transposed(std::int64_t rows, std::int64_t cols, const std::int32_t* row_start, const std::int32_t* columns,
                      std::int32_t* column_start, std::int32_t* row_of, std::int32_t* position) {
  const std::int32_t nnz = rows == 0 ? 0 : row_start[rows];
  std::fill_n(column_start, cols + 1, 0);
  for (std::int32_t n = 0; n < nnz; ++n) ++column_start[columns[n] + 1];
  for (std::int64_t c = 0; c < cols; ++c) column_start[c + 1] += column_start[c];
  // While filling, column_start[c] is the next free place of column c; afterwards it is where c ends.
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int32_t n = row_start[r]; n < row_start[r + 1]; ++n) {
      const std::int32_t place = column_start[columns[n]]++;
      row_of[place] = static_cast<std::int32_t>(r);
      position[place] = n;
    }
  }
  for (std::int64_t c = cols; c > 0; --c) column_start[c] = column_start[c - 1];
  column_start[0] = 0;
}

void validate(std::int64_t rows, std::int64_t cols, std::span<const std::int32_t> row_start,
              std::span<const std::int32_t> columns, std::int64_t value_count, std::string_view name) {
  const auto bad = [&](const auto&... parts) { fail(ErrorKind::bad_input, name, ": ", parts...); };
  if (rows < 0 || cols < 0 || rows > kMostEntries || cols > kMostEntries) {
    bad("a sparse matrix of ", rows, " x ", cols, ", expected sizes from 0 to ", kMostEntries);
  }
  const auto starts = static_cast<std::int64_t>(row_start.size());
  const auto nnz = static_cast<std::int64_t>(columns.size());
  if (starts != rows + 1) {
    bad("row_start has ", starts, " entries, expected ", rows + 1, " for ", rows, " rows");
  }
  if (value_count != nnz) bad("values has ", value_count, " entries, expected ", nnz, " as columns has");
  if (nnz > kMostEntries) bad("columns has ", nnz, " entries, expected at most ", kMostEntries);
  if (row_start[0] != 0) bad("row_start[0] is ", row_start[0], ", expected 0");
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int32_t first = row_start[r], last = row_start[r + 1];
    if (last < first) bad("row_start[", r + 1, "] is ", last, ", expected at least row_start[", r, "] = ", first);
    if (last > nnz) bad("row_start[", r + 1, "] is ", last, ", expected at most the ", nnz, " entries of columns");
    for (std::int32_t n = first; n < last; ++n) {
      if (columns[n] < 0 || columns[n] >= cols) {
        bad("columns[", n, "] in row ", r, " is ", columns[n], ", expected 0 to ", cols - 1);
      }
      if (n > first && columns[n] <= columns[n - 1]) {
        bad("columns[", n, "] in row ", r, " is ", columns[n], ", expected more than columns[", n - 1,
            "] = ", columns[n - 1], ": columns ascend in a row");
      }
    }
  }
  if (row_start[rows] != nnz) {
    bad("row_start[", rows, "] is ", row_start[rows], ", expected ", nnz, ", the number of entries of columns");
  }
}

}  // namespace bertx::sparse
