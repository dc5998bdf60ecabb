// Packing for inference.
//
// x arrives a tile of columns at a time, small enough to stay near the first-level cache while every row takes its
// nonzeros of that tile; the sums of a row wait in y between tiles. Rows are cut into panels of about equal cost,
// the units that threads share. In a cell (panel × tile) the rows' segments are sorted by length: equal lengths one
// after the other make the ends of loops predictable, where a misprediction costs as much as a few nonzeros.
#include "packed_layout.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bertx/sparse/bf16.h"
#include "cpu/split.h"

namespace bertx::sparse {
namespace {

constexpr std::int64_t kPanelRows = 96;      // fewest rows of a panel, where there are that many
constexpr std::int64_t kIndexRange = 65536;  // of 16-bit columns and rows

struct Segment {
  std::uint16_t row;        // in the panel
  std::int32_t begin, end;  // of the CSR's nonzeros

  std::int64_t length() const { return end - begin; }
};

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

CellStart end_of(const PackedCsr::Data& out) {
  const std::size_t entries = out.kind == Values::bf16 ? out.pairs.size() / kPairWords : out.columns.size();
  return {static_cast<std::int64_t>(out.groups.size()), static_cast<std::int64_t>(out.segment_rows.size()),
          static_cast<std::int64_t>(entries)};
}

/// Counts `segments` of this length in the cell whose groups begin at first_group.
void count_segments(PackedCsr::Data& out, std::size_t first_group, std::int64_t length, std::int64_t segments) {
  if (out.groups.size() == first_group || out.groups.back().length != length ||
      out.groups.back().count + segments > std::numeric_limits<std::uint16_t>::max()) {
    out.groups.push_back({static_cast<std::uint16_t>(length), 0});
  }
  out.groups.back().count = static_cast<std::uint16_t>(out.groups.back().count + segments);
}

/// The cell of these segments, longest first: a group for every length.
void append_cell(PackedCsr::Data& out, const CsrView<float>& w, std::int64_t first_column,
                 const std::vector<Segment>& segments) {
  const std::size_t first_group = out.groups.size();
  for (const Segment& s : segments) {
    count_segments(out, first_group, s.length(), 1);
    out.segment_rows.push_back(s.row);
    out.places.push_back(s.begin);
    for (std::int32_t n = s.begin; n < s.end; ++n) {
      out.columns.push_back(static_cast<std::uint16_t>(w.columns[n] - first_column));
      out.values.push_back(w.values[n]);
    }
  }
}

/// The same in pairs. Segments that a kernel takes side by side get the length of the longest, entry by entry beside
/// each other; where one has no nonzero left it gets a weight of 0 and the row of zeros that follows the tile's
/// columns.
void append_pair_cell(PackedCsr::Data& out, const CsrView<float>& w, std::int64_t first_column,
                      const std::vector<Segment>& segments) {
  const auto zeros = static_cast<std::uint16_t>(std::min(out.tile_columns, w.cols - first_column));
  const auto append_pair = [&](const Segment& s, std::int64_t pair) {
    const std::int64_t n = s.begin + 2 * pair;
    const auto column = [&](std::int64_t i) {
      return i < s.end ? static_cast<std::uint16_t>(w.columns[i] - first_column) : zeros;
    };
    const auto value = [&](std::int64_t i) { return i < s.end ? bf16_from_float(w.values[i]) : std::uint16_t{0}; };
    for (const std::uint16_t word : {column(n), column(n + 1), value(n), value(n + 1)}) out.pairs.push_back(word);
  };
  const std::size_t first_group = out.groups.size(), count = segments.size();
  for (std::size_t i = 0; i < count;) {
    const std::size_t beside = i + kPairRows <= count ? kPairRows : 1;
    const std::int64_t length = (segments[i].length() + 1) / 2;
    count_segments(out, first_group, length, static_cast<std::int64_t>(beside));
    for (std::int64_t pair = 0; pair < length; ++pair) {
      for (std::size_t j = 0; j < beside; ++j) append_pair(segments[i + j], pair);
    }
    for (std::size_t j = 0; j < beside; ++j) out.segment_rows.push_back(segments[i + j].row);
    i += beside;
  }
}

}  // namespace

// A row should have so many nonzeros in it, since each visit costs the sums' way to y and back; the
// bounds keep x near the first-level cache (128 columns of 64 tokens are 32 KB, or 256 in bf16), where they were
// measured to be best from 5 to 20 % density (768x768, 128 tokens, f32: 192 columns at 10 and 20 %, 192 to 384 at 5 %;
// bf16: 384 at all three). Tiles come out about equally wide.
std::int64_t default_tile_columns(const CsrView<float>& w, Values values) {
  const bool narrow = values == Values::bf16;
  const double segment = narrow ? 40 : 20, least = narrow ? 320 : 192, most = narrow ? 512 : 448;
  const double area = static_cast<double>(w.rows) * static_cast<double>(w.cols);
  const double columns = std::clamp(segment * area / std::max(1.0, static_cast<double>(w.nnz())), least, most);
  const auto tiles = std::max<std::int64_t>(1, std::llround(static_cast<double>(w.cols) / columns));
  return (w.cols + tiles - 1) / tiles;
}

std::shared_ptr<PackedCsr::Data> pack_data(const CsrView<float>& w, const PackOptions& options) {
  auto out = std::make_shared<PackedCsr::Data>();
  out->kind = options.values;
  out->rows = w.rows;
  out->cols = w.cols;
  out->nnz = w.nnz();
  const std::int64_t tile_columns =
      options.tile_columns > 0 ? options.tile_columns : default_tile_columns(w, options.values);
  out->tile_columns = std::clamp<std::int64_t>(tile_columns, 1, kIndexRange / 2);
  out->tiles = std::max<std::int64_t>(1, (w.cols + out->tile_columns - 1) / out->tile_columns);
  out->panel_start = panel_starts(w);
  const bool pairs = options.values == Values::bf16;
  if (!pairs) out->columns.reserve(static_cast<std::size_t>(w.nnz()));
  if (!pairs) out->values.reserve(static_cast<std::size_t>(w.nnz()));

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
      std::stable_sort(segments.begin(), segments.end(),
                       [](const Segment& a, const Segment& b) { return a.length() > b.length(); });
      out->cells.push_back(end_of(*out));
      (pairs ? append_pair_cell : append_cell)(*out, w, tile * out->tile_columns, segments);
    }
  }
  out->cells.push_back(end_of(*out));
  out->pairs.shrink_to_fit();
  return out;
}

PackedCsr::PackedCsr(const CsrView<float>& w, const PackOptions& options) {
  const auto data = pack_data(w, options);
  data->places = {};
  data_ = data;
}

std::int64_t PackedCsr::rows() const { return data_ ? data_->rows : 0; }
std::int64_t PackedCsr::cols() const { return data_ ? data_->cols : 0; }
std::int64_t PackedCsr::nnz() const { return data_ ? data_->nnz : 0; }
std::int64_t PackedCsr::tile_columns() const { return data_ ? data_->tile_columns : 0; }
Values PackedCsr::values() const { return data_ ? data_->kind : Values::f32; }

std::int64_t PackedCsr::bytes() const { return data_ ? data_->bytes() : 0; }

std::int64_t PackedCsr::Data::bytes() const {
  const auto of = [](const auto& v) { return static_cast<std::int64_t>(v.capacity() * sizeof(v[0])); };
  return of(panel_start) + of(cells) + of(groups) + of(segment_rows) + of(columns) + of(values) + of(pairs) +
         of(places);
}

}  // namespace bertx::sparse
