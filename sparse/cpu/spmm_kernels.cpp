// Rows of a CSR matrix times a token block: y [rows, tokens] = W x. A row's sums stay in registers from its first
// nonzero to its last.
#include "cpu/kernels.h"
#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

struct RowsKernel {
  const RowRange& w;
  const float* x;
  int64_t tokens;
  const float* bias;
  bool accumulate;
  float* y;
  int64_t ldy;

  template <class V, int kVectors>
  __attribute__((noinline)) void run() const {
    constexpr int rows = rows_at_once(kVectors);
    int64_t row = w.first;
    for (; row + rows <= w.last; row += rows) several<V, kVectors, rows>(row);
    for (; row < w.last; ++row) several<V, kVectors, 1>(row);
  }

 private:
  template <class V, int kVectors, int kRows>
  BERTX_INLINE void several(int64_t row) const {
    const float* values[kRows];
    const int32_t* columns[kRows];
    V acc[kRows][kVectors];
    int64_t length[kRows], common = INT64_MAX;
    for (int r = 0; r < kRows; ++r) {
      const int64_t begin = w.row_start[row + r];
      values[r] = w.values + begin;
      columns[r] = w.columns + begin;
      length[r] = w.row_start[row + r + 1] - begin;
      common = length[r] < common ? length[r] : common;
      start(row + r, acc[r]);
    }
    run_chains(values, columns, common, x, acc);
    for (int r = 0; r < kRows; ++r) {
      if (kRows > 1) run_chain(values[r], columns[r], common, length[r], x, acc[r]);
      finish(row + r, acc[r]);
    }
  }

  template <class V, int kVectors>
  BERTX_INLINE void start(int64_t row, V (&acc)[kVectors]) const {
    constexpr int64_t lanes = sizeof(V) / 4;
    if (!accumulate) {
      for (int v = 0; v < kVectors; ++v) acc[v] = fill<V>(bias ? bias[row] : 0.0f);
    } else if (tokens == kVectors * lanes) {
      for (int v = 0; v < kVectors; ++v) acc[v] = load<V>(y + row * ldy + v * lanes);
    } else {
      float whole[kVectors * lanes] = {};
      for (int64_t t = 0; t < tokens; ++t) whole[t] = y[row * ldy + t];
      for (int v = 0; v < kVectors; ++v) acc[v] = load<V>(whole + v * lanes);
    }
  }

  template <class V, int kVectors>
  BERTX_INLINE void finish(int64_t row, const V (&acc)[kVectors]) const {
    constexpr int64_t lanes = sizeof(V) / 4;
    if (tokens == kVectors * lanes) {
      for (int v = 0; v < kVectors; ++v) store(y + row * ldy + v * lanes, acc[v]);
    } else {
      float whole[kVectors * lanes];
      for (int v = 0; v < kVectors; ++v) store(whole + v * lanes, acc[v]);
      for (int64_t t = 0; t < tokens; ++t) y[row * ldy + t] = whole[t];
    }
  }
};

}  // namespace

void spmm_rows(const RowRange& w, const float* block, int64_t width, int64_t tokens, const float* bias, bool accumulate,
               float* y, int64_t ldy) {
  for_width(width, RowsKernel{w, block, tokens, bias, accumulate, y, ldy});
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
