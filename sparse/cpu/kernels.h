// What every instruction set offers: kernels over plain pointers, one thread, no allocation. Compiled once per
// instruction set, so this header holds declarations only.
//
// Activations reach the kernels as token blocks: x [features, width] without gaps, 64-byte aligned, where `width`
// is 1 or a multiple of 4 up to max_width and the columns past the block's tokens hold 0. Packing costs a few
// percent of a product and buys aligned loads, no tails, and a block that fills cache sets evenly.
#pragma once

#include <stdint.h>

namespace bertx::sparse {

/// Rows [first, last) of a CSR matrix.
struct RowRange {
  const int32_t* row_start;
  const int32_t* columns;
  const float* values;
  int64_t first, last;
};

/// `count` segments of `length` nonzeros each.
struct SegmentGroup {
  uint16_t length, count;
};

/// The nonzeros of one panel of rows in one tile of columns: segments grouped by length, one row each, their columns
/// and values one after the other.
struct Cell {
  const SegmentGroup* groups;
  int64_t group_count;
  const uint16_t* rows;     ///< in the panel, per segment
  const uint16_t* columns;  ///< from the x the kernel is given, per nonzero
  const float* values;
};

struct Kernels {
  int64_t lanes;      ///< floats in a vector
  int64_t max_width;  ///< of a token block

  /// The smallest width that holds `tokens` <= max_width.
  int64_t (*block_width)(int64_t tokens);

  /// x [features, tokens] with stride ldx -> block [features, width].
  void (*pack_tokens)(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, float* block);

  /// block [rows, width] -> y [rows, tokens] with stride ldy.
  void (*unpack_tokens)(const float* block, int64_t width, int64_t rows, int64_t tokens, float* y, int64_t ldy);

  /// y [row, 0..tokens) = (accumulate ? y : bias[row] or 0) + Σ w * block, for the rows of the range; y and bias
  /// begin at row 0 of the matrix.
  void (*spmm_rows)(const RowRange& w, const float* block, int64_t width, int64_t tokens, const float* bias,
                    bool accumulate, float* y, int64_t ldy);

  /// The same for one cell, with y [panel rows, width] and bias at the panel's first row. `first` begins the sums
  /// with the bias, else they go on from y.
  void (*spmm_cell)(const Cell& cell, const float* block, int64_t width, const float* bias, bool first, float* y,
                    int64_t ldy);

  /// dvalues[n] += <dy[row, 0..tokens), block[column(n), :]> for the rows of the range; values are not read.
  void (*sddmm_rows)(const RowRange& pattern, const float* dy, int64_t lddy, const float* block, int64_t width,
                     int64_t tokens, float* dvalues);

  /// The same for one cell, dy [panel rows, width] without a tail; places: per segment, its first nonzero's place.
  void (*sddmm_cell)(const Cell& cell, const int32_t* places, const float* dy, int64_t lddy, const float* block,
                     int64_t width, float* dvalues);

  /// y [rows, tokens] += x
  void (*add)(const float* x, int64_t ldx, int64_t rows, int64_t tokens, float* y, int64_t ldy);
};

#define BERTX_DECLARE_KERNELS(isa)                                                                              \
  namespace isa {                                                                                               \
  int64_t block_width(int64_t tokens);                                                                          \
  void pack_tokens(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, float* block); \
  void unpack_tokens(const float* block, int64_t width, int64_t rows, int64_t tokens, float* y, int64_t ldy);   \
  void spmm_rows(const RowRange& w, const float* block, int64_t width, int64_t tokens, const float* bias,       \
                 bool accumulate, float* y, int64_t ldy);                                                       \
  void spmm_cell(const Cell& cell, const float* block, int64_t width, const float* bias, bool first, float* y,  \
                 int64_t ldy);                                                                                  \
  void sddmm_rows(const RowRange& pattern, const float* dy, int64_t lddy, const float* block, int64_t width,    \
                  int64_t tokens, float* dvalues);                                                              \
  void sddmm_cell(const Cell& cell, const int32_t* places, const float* dy, int64_t lddy, const float* block,   \
                  int64_t width, float* dvalues);                                                               \
  void add(const float* x, int64_t ldx, int64_t rows, int64_t tokens, float* y, int64_t ldy);                   \
  }
BERTX_DECLARE_KERNELS(portable)
BERTX_DECLARE_KERNELS(avx2)
BERTX_DECLARE_KERNELS(avx512)
#undef BERTX_DECLARE_KERNELS

/// Those of active_isa().
const Kernels& active_kernels();

}  // namespace bertx::sparse
