// The arrays of a packed matrix.
#pragma once

#include <cstdint>
#include <vector>

#include "bertx/sparse/packed.h"
#include "cpu/pair_kernels.h"

namespace bertx::sparse {

constexpr std::int64_t kRowCost = 8;  // a row's own cost, in nonzeros

/// Where a cell begins in each of the packed arrays.
struct CellStart {
  std::int64_t group, segment, entry;
};

struct PackedCsr::Data {
  Values kind = Values::f32;
  std::int64_t rows = 0, cols = 0, nnz = 0, tile_columns = 0, tiles = 0;
  std::vector<std::int64_t> panel_start;  // [panels + 1], in rows
  std::vector<CellStart> cells;           // [tiles * panels + 1], the panels of a tile one after the other
  std::vector<SegmentGroup> groups;
  std::vector<std::uint16_t> segment_rows;
  std::vector<std::uint16_t> columns;  // of f32 values, an entry each
  std::vector<float> values;
  std::vector<std::uint16_t> pairs;  // of bf16 values, an entry is kPairWords

  std::int64_t panels() const { return static_cast<std::int64_t>(panel_start.size()) - 1; }

  Cell cell(std::int64_t tile, std::int64_t panel) const {
    const CellStart &at = start(tile, panel), &end = start(tile, panel + 1);
    return {groups.data() + at.group, end.group - at.group, segment_rows.data() + at.segment, columns.data() + at.entry,
            values.data() + at.entry};
  }
  PairCell pair_cell(std::int64_t tile, std::int64_t panel) const {
    const CellStart &at = start(tile, panel), &end = start(tile, panel + 1);
    return {groups.data() + at.group, end.group - at.group, segment_rows.data() + at.segment,
            pairs.data() + at.entry * kPairWords};
  }

 private:
  const CellStart& start(std::int64_t tile, std::int64_t panel) const {
    return cells[static_cast<std::size_t>(tile * panels() + panel)];
  }
};

}  // namespace bertx::sparse
