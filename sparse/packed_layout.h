// The arrays of a packed matrix.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
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
  std::vector<std::int32_t> places;  // of f32 values, per segment: its first nonzero in the CSR

  std::int64_t panels() const { return static_cast<std::int64_t>(panel_start.size()) - 1; }
  std::int64_t first_row(std::int64_t panel) const { return panel_start[static_cast<std::size_t>(panel)]; }
  std::int64_t first_column(std::int64_t tile) const { return tile * tile_columns; }
  std::int64_t columns_of(std::int64_t tile) const { return std::min(tile_columns, cols - first_column(tile)); }
  std::int64_t bytes() const;

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
  const CellStart& start(std::int64_t tile, std::int64_t panel) const {
    return cells[static_cast<std::size_t>(tile * panels() + panel)];
  }
};

std::shared_ptr<PackedCsr::Data> pack_data(const CsrView<float>& w, const PackOptions& options);

/// spmm_packed; where `accumulate`, the sums begin with y instead of the bias (f32 values only).
void multiply_packed(const PackedCsr::Data& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy,
                     std::int64_t tokens, const Epilogue<float>& epilogue, bool accumulate);

}  // namespace bertx::sparse
