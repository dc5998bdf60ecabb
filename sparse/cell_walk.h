// The order in which a product meets the cells of a packed matrix, for one block of tokens.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/scratch.h"
#include "packed_layout.h"

namespace bertx::sparse {

// Rows whose activations, 64 tokens of each, stay in the second-level cache from tile to tile. More are done in passes,
// which read the packed tokens again (one core, 3072x768, 1024 tokens: 58 instead of 48 GFLOP/s at 10 %, 46 instead of
// 40 at 5 %).
constexpr std::int64_t kPassRows = 1024;

/// Calls body(begin, end, pass, passes) for the passes that panels [first, last) are done in, kPassRows or so each.
template <class Body>
void for_passes(const PackedCsr::Data& w, std::int64_t first, std::int64_t last, const Body& body) {
  const std::int64_t rows = w.first_row(last) - w.first_row(first), panels = last - first;
  const std::int64_t passes =
      std::clamp<std::int64_t>((rows + kPassRows / 2) / kPassRows, 1, std::max<std::int64_t>(1, panels));
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    body(first + panels * pass / passes, first + panels * (pass + 1) / passes, pass, passes);
  }
}

/// Calls visit(tile, panel, x_tile) for every tile and each panel in [first, last); pack(tile, x_tile) has put the
/// tile's tokens there: `width` a column, and room for a column more.
template <class Pack, class Visit>
void walk_cells(const PackedCsr::Data& w, std::int64_t first, std::int64_t last, std::int64_t width, const Pack& pack,
                const Visit& visit) {
  const std::int64_t tile_floats = (std::min(w.tile_columns, w.cols) + 1) * width;
  for_passes(w, first, last, [&](std::int64_t begin, std::int64_t end, std::int64_t pass, std::int64_t passes) {
    // One pass has room for one tile, which the next replaces; several keep all that the first has packed.
    float* const block = scratch(Scratch::block, passes > 1 ? w.tiles * tile_floats : tile_floats);
    for (std::int64_t tile = 0; tile < w.tiles; ++tile) {
      float* const x_tile = passes > 1 ? block + tile * tile_floats : block;
      if (pass == 0) pack(tile, x_tile);
      for (std::int64_t panel = begin; panel < end; ++panel) visit(tile, panel, static_cast<const float*>(x_tile));
    }
  });
}

}  // namespace bertx::sparse
