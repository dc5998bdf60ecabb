// Kernels for weights whose values are bf16: nonzeros of a row in pairs, activations rounded to bf16, float sums. The
// vocabulary is that of kernels.h.
#pragma once

#include <stdint.h>

#include "cpu/kernels.h"

namespace bertx::sparse {

/// 16-bit words of a pair of nonzeros: two columns and two bf16 values.
constexpr int64_t kPairWords = 4;
/// Segments that lie side by side: their first pairs, then their second ones, and so on.
constexpr int64_t kPairRows = 4;

/// As Cell, with lengths in pairs. The segments of a group lie kPairRows side by side, those left over one after the
/// other.
struct PairCell {
  const SegmentGroup* groups;
  int64_t group_count;
  const uint16_t* rows;
  const uint16_t* pairs;
};

struct PairKernels {
  int64_t lanes;         ///< a block's tokens are a multiple of it, or one of a few smaller widths
  int64_t block_tokens;  ///< most tokens of a block

  /// The smallest width that holds `tokens` <= block_tokens.
  int64_t (*block_width)(int64_t tokens);

  /// x [features, tokens] with stride ldx -> block [features, width], rounded to bf16 and laid out for spmm_cell in
  /// no more bytes than floats need, and a row of zeros behind the last. Columns past `tokens` hold 0.
  void (*pack_tokens)(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, void* block);

  /// y [panel rows, width] = (first ? bias or 0 : y) + W block
  void (*spmm_cell)(const PairCell& cell, const void* block, int64_t width, const float* bias, bool first, float* y,
                    int64_t ldy);
};

#define BERTX_DECLARE_PAIR_KERNELS(isa)                                                                                \
  namespace isa {                                                                                                      \
  int64_t pair_block_width(int64_t tokens);                                                                            \
  void pack_pair_tokens(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, void* block);    \
  void spmm_pair_cell(const PairCell& cell, const void* block, int64_t width, const float* bias, bool first, float* y, \
                      int64_t ldy);                                                                                    \
  }
BERTX_DECLARE_PAIR_KERNELS(portable)
BERTX_DECLARE_PAIR_KERNELS(avx2)
BERTX_DECLARE_PAIR_KERNELS(avx512)
BERTX_DECLARE_PAIR_KERNELS(avx512_bf16)
#undef BERTX_DECLARE_PAIR_KERNELS

/// Those of active_isa() and active_bf16_dot().
const PairKernels& active_pair_kernels();

}  // namespace bertx::sparse
