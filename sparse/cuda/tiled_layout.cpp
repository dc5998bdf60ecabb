#include "cuda/tiled_layout.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <queue>

#include "bertx/error.h"
#include "bertx/sparse/bf16.h"
#include "cuda/tiling.h"

namespace bertx::sparse::cuda {
namespace {

/// Rows [bins * kWarpRows] dealt to bins, -1 where one has less: the longest row that is left to the bin with the
/// fewest nonzeros that has room.
std::vector<std::int32_t> deal_rows(const CsrView<float>& w, std::int64_t bins) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(bins * kWarpRows), -1);
  std::vector<int> taken(static_cast<std::size_t>(bins), 0);
  using Bin = std::pair<std::int64_t, std::int64_t>;  // nonzeros, number
  std::priority_queue<Bin, std::vector<Bin>, std::greater<>> free;
  for (std::int64_t b = 0; b < bins; ++b) free.emplace(0, b);
  for (const std::int32_t row : longest_first(w.rows, w.row_start)) {
    const auto [nonzeros, bin] = free.top();
    free.pop();
    int& places = taken[static_cast<std::size_t>(bin)];
    out[static_cast<std::size_t>(bin * kWarpRows + places)] = row;
    if (++places < kWarpRows) free.emplace(nonzeros + w.row_start[row + 1] - w.row_start[row], bin);
  }
  return out;
}

class Builder {
 public:
  Builder(const CsrView<float>& w, TiledLayout& out)
      : w_(w), out_(out), bf16_(out.shape.number == Number::bf16), taken_(w.row_start, w.row_start + w.rows) {}

  /// The segment of `row` (-1: none) in the tile whose columns end before end_column.
  void append(std::int32_t row, std::int32_t first_column, std::int64_t end_column, std::int32_t cell) {
    const std::int32_t begin = count();
    if (row >= 0) {
      std::int32_t& next = taken_[static_cast<std::size_t>(row)];
      for (; next < w_.row_start[row + 1] && w_.columns[next] < end_column; ++next) {
        push(static_cast<std::uint32_t>(w_.columns[next] - first_column), w_.values[next], next);
      }
    }
    out_.segments.push_back(begin - cell);
    out_.segments.push_back(count() - cell);
    while (count() % entries_aligned(bf16_) != 0) push(0, 0.0f, -1);
  }
  std::int32_t count() const { return static_cast<std::int32_t>(out_.places.size()); }

 private:
  void push(std::uint32_t column, float value, std::int32_t place) {
    if (bf16_) {
      out_.entries.push_back(column | std::uint32_t{bf16_from_float(value)} << 16);
    } else {
      out_.entries.push_back(column);
      out_.entries.push_back(std::bit_cast<std::uint32_t>(value));
    }
    out_.places.push_back(place);
  }

  const CsrView<float>& w_;
  TiledLayout& out_;
  bool bf16_;
  std::vector<std::int32_t> taken_;  // per row: its first nonzero that is not yet laid out
};

}  // namespace

std::vector<std::int32_t> longest_first(std::int64_t rows, const std::int32_t* row_start) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(),
                           [row_start](std::int32_t row) { return row_start[row + 1] - row_start[row]; });
  return order;
}

TiledLayout tiled_layout(const CsrView<float>& w, const TiledOptions& options) {
  if (options.tile_columns < 1 || options.tile_columns > 32768) {
    fail(ErrorKind::usage, "tile_columns: found ", options.tile_columns, ", expected 1 to 32768");
  }
  if (options.panel_warps < 1 || options.panel_warps > kMostPanelWarps) {
    fail(ErrorKind::usage, "panel_warps: found ", options.panel_warps, ", expected 1 to ", kMostPanelWarps);
  }
  TiledLayout out;
  Tiled& shape = out.shape;
  shape.rows = w.rows;
  shape.cols = w.cols;
  shape.number = options.number;
  shape.tile_columns = options.tile_columns;
  shape.panel_warps = options.panel_warps;
  shape.panels = static_cast<int>(divide_up(w.rows, std::int64_t{options.panel_warps} * kWarpRows));
  shape.tiles = static_cast<int>(divide_up(w.cols, options.tile_columns));
  // Segments are filled up; with that, entries must still be counted in 32 bits.
  const std::int64_t filled = w.nnz() + std::int64_t{shape.panels} * shape.tiles * options.panel_warps * kWarpRows * 3;
  if (filled > std::numeric_limits<std::int32_t>::max()) {
    fail(ErrorKind::usage, "a tiled matrix of ", w.nnz(),
         " nonzeros: expected fewer than 2^31 with what fills them up");
  }
  out.rows_of = deal_rows(w, std::int64_t{shape.panels} * options.panel_warps);
  Builder builder(w, out);
  const std::size_t panel_rows = static_cast<std::size_t>(options.panel_warps * kWarpRows);
  for (std::size_t panel = 0; panel < static_cast<std::size_t>(shape.panels); ++panel) {
    for (std::int32_t tile = 0; tile < shape.tiles; ++tile) {
      const std::int32_t cell = builder.count(), first = tile * options.tile_columns;
      out.cell_start.push_back(cell);
      for (std::size_t place = 0; place < panel_rows; ++place) {
        builder.append(out.rows_of[panel * panel_rows + place], first, std::int64_t{first} + options.tile_columns,
                       cell);
      }
      shape.most_entries = std::max(shape.most_entries, builder.count() - cell);
    }
  }
  out.cell_start.push_back(builder.count());
  return out;
}

}  // namespace bertx::sparse::cuda
