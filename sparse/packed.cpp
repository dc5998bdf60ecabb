// Packing for inference, and the product with a packed weight.
//
// x arrives a tile of columns at a time, small enough to stay in the first-level cache while every row takes its
// nonzeros of that tile; the sums of a row wait in y between tiles. Rows are cut into panels of about equal cost,
// the units that threads share. In a cell (panel × tile) the rows' segments are sorted by length: equal lengths one
// after the other make the ends of loops predictable, where a misprediction costs as much as a few nonzeros.
#include "bertx/sparse/packed.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/finish.h"
#include "cpu/kernels.h"
#include "cpu/scratch.h"
#include "cpu/split.h"

namespace bertx::sparse {
namespace {

constexpr std::int64_t kRowCost = 8;         // a row's own cost, in nonzeros
constexpr std::int64_t kPanelRows = 96;      // fewest rows of a panel, where there are that many
constexpr std::int64_t kBlockTokens = 64;    // most tokens of a block
constexpr std::int64_t kIndexRange = 65536;  // of 16-bit columns and rows

/// Where a cell begins in each of the packed arrays.
struct CellStart {
  std::int64_t group, segment, entry;
};

struct Segment {
  std::uint16_t row;        // in the panel
  std::int32_t begin, end;  // of the CSR's nonzeros

  std::int64_t length() const { return end - begin; }
};

}  // namespace

struct PackedCsr::Data {
  std::int64_t rows = 0, cols = 0, tile_columns = 0, tiles = 0;
  std::vector<std::int64_t> panel_start;  // [panels + 1], in rows
  std::vector<CellStart> cells;           // [tiles * panels + 1], the panels of a tile one after the other
  std::vector<SegmentGroup> groups;
  std::vector<std::uint16_t> segment_rows, columns;
  std::vector<float> values;

  std::int64_t panels() const { return static_cast<std::int64_t>(panel_start.size()) - 1; }

  Cell cell(std::int64_t tile, std::int64_t panel) const {
    const CellStart& at = cells[static_cast<std::size_t>(tile * panels() + panel)];
    const CellStart& end = cells[static_cast<std::size_t>(tile * panels() + panel + 1)];
    return {groups.data() + at.group, end.group - at.group, segment_rows.data() + at.segment, columns.data() + at.entry,
            values.data() + at.entry};
  }
};

namespace {

std::vector<std::int64_t> panel_starts(const CsrView<float>& w) {
  std::int64_t count = 1;
  for (const std::int64_t c : {2, 4, 8, 12, 24, 48, 96}) {
    if (w.rows / c >= kPanelRows) count = c;
  }
  std::vector<std::int64_t> starts{0};
  for (std::int64_t p = 1; p <= count && w.rows > 0; ++p) {
    const std::int64_t end = cost_split(w.row_start, w.rows, kRowCost, p, count);
    while (end - starts.back() >= kIndexRange) starts.push_back(starts.back() + kIndexRange / 2);
    if (end > starts.back()) starts.push_back(end);
  }
  return starts;
}

/// Appends the cell of these segments, which it sorts.
void append_cell(PackedCsr::Data& out, const CsrView<float>& w, std::int64_t first_column,
                 std::vector<Segment>& segments) {
  out.cells.push_back({static_cast<std::int64_t>(out.groups.size()), static_cast<std::int64_t>(out.segment_rows.size()),
                       static_cast<std::int64_t>(out.values.size())});
  std::stable_sort(segments.begin(), segments.end(),
                   [](const Segment& a, const Segment& b) { return a.length() > b.length(); });
  const std::size_t first_group = out.groups.size();
  for (const Segment& s : segments) {
    const auto length = static_cast<std::uint16_t>(s.length());
    if (out.groups.size() > first_group && out.groups.back().length == length &&
        out.groups.back().count < std::numeric_limits<std::uint16_t>::max()) {
      ++out.groups.back().count;
    } else {
      out.groups.push_back({length, 1});
    }
    out.segment_rows.push_back(s.row);
    for (std::int32_t n = s.begin; n < s.end; ++n) {
      out.columns.push_back(static_cast<std::uint16_t>(w.columns[n] - first_column));
      out.values.push_back(w.values[n]);
    }
  }
}

}  // namespace

// A row should have about kSegment nonzeros in it, since each visit costs the sums' way to y and
// back; the bounds keep x near the first-level cache (128 columns of 64 tokens are 32 KB), where they were measured
// to be best from 5 to 20 % density (768x768, 128 tokens: 192 columns at 10 and 20 %, 192 to 384 at 5 %). Tiles come
// out about equally wide.
std::int64_t default_tile_columns(const CsrView<float>& w) {
  constexpr double kSegment = 20;
  const double area = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  const double columns = std::clamp(kSegment * area / std::max(1.0, static_cast<double>(w.nnz())), 192.0, 448.0);
  const auto tiles = std::max<std::int64_t>(1, std::llround(static_cast<double>(w.cols) / columns));
  return (w.cols + tiles - 1) / tiles;
}

PackedCsr::PackedCsr(const CsrView<float>& w, const PackOptions& options) {
  auto out = std::make_shared<Data>();
  out->rows = w.rows;
  out->cols = w.cols;
  out->tile_columns = std::clamp<std::int64_t>(
      options.tile_columns > 0 ? options.tile_columns : default_tile_columns(w), 1, kIndexRange / 2);
  out->tiles = std::max<std::int64_t>(1, (w.cols + out->tile_columns - 1) / out->tile_columns);
  out->panel_start = panel_starts(w);
  out->columns.reserve(static_cast<std::size_t>(w.nnz()));
  out->values.reserve(static_cast<std::size_t>(w.nnz()));

  std::vector<std::int32_t> taken(w.row_start, w.row_start + w.rows);  // per row: its first nonzero not yet packed
  std::vector<Segment> segments;
  for (std::int64_t tile = 0; tile < out->tiles; ++tile) {
    const std::int64_t end_column = (tile + 1) * out->tile_columns;
    for (std::int64_t panel = 0; panel < out->panels(); ++panel) {
      const std::int64_t first_row = out->panel_start[static_cast<std::size_t>(panel)];
      const std::int64_t end_row = out->panel_start[static_cast<std::size_t>(panel) + 1];
      segments.clear();
      for (std::int64_t r = first_row; r < end_row; ++r) {
        const std::int32_t begin = taken[static_cast<std::size_t>(r)];
        const auto end = static_cast<std::int32_t>(
            std::lower_bound(w.columns + begin, w.columns + w.row_start[r + 1], end_column) - w.columns);
        taken[static_cast<std::size_t>(r)] = end;
        // The first tile has every row, empty or not: it is where y begins with the bias.
        if (end > begin || tile == 0) segments.push_back({static_cast<std::uint16_t>(r - first_row), begin, end});
      }
      append_cell(*out, w, tile * out->tile_columns, segments);
    }
  }
  out->cells.push_back({static_cast<std::int64_t>(out->groups.size()),
                        static_cast<std::int64_t>(out->segment_rows.size()),
                        static_cast<std::int64_t>(out->values.size())});
  data_ = std::move(out);
}

std::int64_t PackedCsr::rows() const { return data_ ? data_->rows : 0; }
std::int64_t PackedCsr::cols() const { return data_ ? data_->cols : 0; }
std::int64_t PackedCsr::nnz() const { return data_ ? static_cast<std::int64_t>(data_->values.size()) : 0; }
std::int64_t PackedCsr::tile_columns() const { return data_ ? data_->tile_columns : 0; }

std::int64_t PackedCsr::bytes() const {
  if (!data_) return 0;
  const auto of = [](const auto& v) { return static_cast<std::int64_t>(v.capacity() * sizeof(v[0])); };
  return of(data_->panel_start) + of(data_->cells) + of(data_->groups) + of(data_->segment_rows) + of(data_->columns) +
         of(data_->values);
}

namespace {

/// One call of spmm_packed.
struct PackedProduct {
  const PackedCsr::Data& w;
  const Kernels& kernels;
  const TokenBlocks blocks;
  const float* x;
  std::int64_t ldx;
  float* y;
  std::int64_t ldy;
  const Epilogue<float>& epilogue;

  /// Panels [first, last) of the rows, in one thread, for blocks [first_block, last_block).
  void multiply(std::int64_t first_block, std::int64_t last_block, std::int64_t first, std::int64_t last) const {
    for (std::int64_t b = first_block; b < last_block; ++b) multiply_block(b, first, last);
  }

 private:
  std::int64_t row_of(std::int64_t panel) const { return w.panel_start[static_cast<std::size_t>(panel)]; }

  void multiply_block(std::int64_t b, std::int64_t first, std::int64_t last) const {
    const std::int64_t first_row = row_of(first), rows = row_of(last) - first_row;
    const std::int64_t count = blocks.size(b), width = kernels.block_width(count);
    const float* const source = x + blocks.first(b);
    float* const target = y + first_row * ldy + blocks.first(b);
    float* const block = scratch(Scratch::block, std::min(w.tile_columns, w.cols) * width);
    // A block that does not fill its width keeps its sums in memory of their own: y has no room for its tail.
    const bool whole = count == width;
    float* const sums = whole ? target : scratch(Scratch::sums, rows * width);
    const std::int64_t stride = whole ? ldy : width;
    for (std::int64_t tile = 0; tile < w.tiles; ++tile) {
      const std::int64_t column = tile * w.tile_columns, columns = std::min(w.tile_columns, w.cols - column);
      kernels.pack_tokens(source + column * ldx, ldx, columns, count, width, block);
      for (std::int64_t panel = first; panel < last; ++panel) {
        const std::int64_t row = row_of(panel);
        const float* const bias = epilogue.bias != nullptr ? epilogue.bias + row : nullptr;
        kernels.spmm_cell(w.cell(tile, panel), block, width, bias, tile == 0, sums + (row - first_row) * stride,
                          stride);
        if (whole && tile + 1 == w.tiles) finish(row, row_of(panel + 1), b);
      }
    }
    if (whole) return;
    kernels.unpack_tokens(sums, width, rows, count, target, ldy);
    finish(first_row, first_row + rows, b);
  }

  void finish(std::int64_t first_row, std::int64_t last_row, std::int64_t b) const {
    finish_rows(kernels, epilogue, first_row, last_row, blocks.first(b), blocks.size(b), y, ldy);
  }
};

}  // namespace

void spmm_packed(const PackedCsr& w, const float* x, std::int64_t ldx, float* y, std::int64_t ldy, std::int64_t tokens,
                 const Epilogue<float>& epilogue) {
  if (tokens == 0 || w.rows() == 0) return;
  const Kernels& kernels = active_kernels();
  const TokenBlocks blocks(tokens, std::min(kBlockTokens, kernels.max_width), kernels.lanes);
  const PackedProduct product{*w.data(), kernels, blocks, x, ldx, y, ldy, epilogue};
  const std::int64_t panels = w.data()->panels(), work = (w.nnz() + w.rows() * kRowCost) * tokens;
  split_work(blocks.count, panels, work,
             [&](std::int64_t first, std::int64_t last, std::int64_t part, std::int64_t parts) {
               product.multiply(first, last, panels * part / parts, panels * (part + 1) / parts);
             });
}

}  // namespace bertx::sparse
