// A CSR matrix cut for the tiled product on a device (spmm_tiled of launch.h). Built on the host; no CUDA here.
//
// A panel is the rows of a block: kWarpRows a warp. Rows are dealt to warps so that these have about the same number of
// nonzeros, the longest first. A tile is tile_columns columns, whose activations the block holds in shared memory while
// every row takes its nonzeros of them (a segment). Segments of a panel's tile lie one after the other, in the order of
// warps and their rows, each at a multiple of 16 bytes, so that one copy fetches them and loads are vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "bertx/sparse/csr.h"
#include "cuda/launch.h"

namespace bertx::sparse::cuda {

struct TiledOptions {
  int tile_columns = 64;  ///< 1 to 32768
  int panel_warps = 16;   ///< 1 to kMostPanelWarps
  Number number = Number::f32;
};

/// The arrays of Tiled, in host memory.
struct TiledLayout {
  Tiled shape;  ///< its pointers are null
  std::vector<std::int32_t> rows_of, cell_start, segments;
  std::vector<std::uint32_t> entries;  ///< two words each for f32, one for bf16
  /// [entries]: the place of an entry's value in the CSR, -1 for those that only fill up to the next segment
  std::vector<std::int32_t> places;
};

TiledLayout tiled_layout(const CsrView<float>& w, const TiledOptions& options);

/// The rows of a CSR matrix, those with the most nonzeros first: rows that share a warp have about the same length, and
/// the last to finish are short.
std::vector<std::int32_t> longest_first(std::int64_t rows, const std::int32_t* row_start);

}  // namespace bertx::sparse::cuda
