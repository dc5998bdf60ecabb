// One cell of a packed matrix (a panel of rows in a tile of columns) times a token block: y [rows, width] += W x.
// Equal lengths follow each other, so the loops' ends are predicted.
#include "cpu/kernels.h"
#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

struct CellKernel {
  const Cell& cell;
  const float* x;
  const float* bias;
  bool first;
  float* y;
  int64_t ldy;

  template <class V, int kVectors>
  __attribute__((noinline)) void run() const {
    constexpr int rows = rows_at_once(kVectors);
    const uint16_t* row = cell.rows;
    const uint16_t* columns = cell.columns;
    const float* values = cell.values;
    for (int64_t g = 0; g < cell.group_count; ++g) {
      const int64_t length = cell.groups[g].length;
      int64_t left = cell.groups[g].count;
      for (; left >= rows; left -= rows, row += rows, columns += rows * length, values += rows * length) {
        segments<V, kVectors, rows>(row, length, columns, values);
      }
      for (; left > 0; --left, ++row, columns += length, values += length) {
        segments<V, kVectors, 1>(row, length, columns, values);
      }
    }
  }

 private:
  template <class V, int kVectors, int kRows>
  BERTX_INLINE void segments(const uint16_t* row, int64_t length, const uint16_t* columns, const float* values) const {
    constexpr int64_t lanes = sizeof(V) / 4;
    const float* w[kRows];
    const uint16_t* c[kRows];
    V acc[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      w[r] = values + r * length;
      c[r] = columns + r * length;
      const float* const sums = y + row[r] * ldy;
      if (first) {
        for (int v = 0; v < kVectors; ++v) acc[r][v] = fill<V>(bias ? bias[row[r]] : 0.0f);
      } else {
        for (int v = 0; v < kVectors; ++v) acc[r][v] = load<V>(sums + v * lanes);
      }
    }
    run_chains(w, c, length, x, acc);
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) store(y + row[r] * ldy + v * lanes, acc[r][v]);
    }
  }
};

}  // namespace

void spmm_cell(const Cell& cell, const float* block, int64_t width, const float* bias, bool first, float* y,
               int64_t ldy) {
  for_width(width, CellKernel{cell, block, bias, first, y, ldy});
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
