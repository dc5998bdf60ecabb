// The layout of tiled matrices and the rules for forms, on the host.
#include <map>
#include <numeric>
#include <set>

#include "bertx/error.h"
#include "cuda/tiling.h"
#include "sparse_problems.h"

namespace bertx::sparse::cuda::test {
namespace {

/// The matrix that a layout describes, and that every nonzero is in it once.
CsrMatrix<float> gathered(const TiledLayout& layout, std::vector<int>& seen) {
  const Tiled& s = layout.shape;
  const bool bf16 = s.number == Number::bf16;
  std::vector<std::map<std::int32_t, float>> rows(static_cast<std::size_t>(s.rows));
  const int panel_rows = s.panel_warps * kWarpRows;
  for (int panel = 0; panel < s.panels; ++panel) {
    for (int tile = 0; tile < s.tiles; ++tile) {
      const std::size_t cell = std::size_t(panel) * std::size_t(s.tiles) + std::size_t(tile);
      const int start = layout.cell_start[cell], end = layout.cell_start[cell + 1];
      EXPECT_LE(end - start, s.most_entries);
      for (int place = 0; place < panel_rows; ++place) {
        const int row = layout.rows_of[std::size_t(panel * panel_rows + place)];
        const std::size_t segment = 2 * (cell * std::size_t(panel_rows) + std::size_t(place));
        const int from = start + layout.segments[segment], to = start + layout.segments[segment + 1];
        EXPECT_EQ((from - start) % entries_aligned(bf16), 0);
        EXPECT_LE(to, end);
        for (int e = from; e < to; ++e) {
          const std::uint32_t word = layout.entries[std::size_t(bf16 ? e : 2 * e)];
          const float value = bf16 ? float_from_bf16(std::uint16_t(word >> 16))
                                   : std::bit_cast<float>(layout.entries[std::size_t(2 * e + 1)]);
          const int column = tile * s.tile_columns + int(bf16 ? word & 0xFFFF : word);
          EXPECT_TRUE(rows[std::size_t(row)].emplace(column, value).second);
          ++seen[std::size_t(layout.places[std::size_t(e)])];
        }
      }
    }
  }
  CsrMatrix<float> out;
  out.rows = s.rows;
  out.cols = s.cols;
  for (const auto& row : rows) {
    for (const auto& [column, value] : row) {
      out.columns.push_back(column);
      out.values.push_back(value);
    }
    out.row_start.push_back(static_cast<std::int32_t>(out.columns.size()));
  }
  return out;
}

TEST(CudaLayout, HoldsEveryNonzeroOnce) {
  std::mt19937 random(1);
  for (const sparse::test::Problem& p : kProblems) {
    const CsrMatrix<float> w = sparse::test::random_csr(p, random);
    for (const Number number : {Number::f32, Number::bf16}) {
      for (const int columns : {1, 16, 64, 500}) {
        for (const int warps : {1, 5, 16}) {
          std::vector<int> seen(w.values.size());
          const CsrMatrix<float> found = gathered(tiled_layout(w.view(), {columns, warps, number}), seen);
          std::vector<float> expected = w.values;
          if (number == Number::bf16) std::ranges::transform(expected, expected.begin(), narrow);
          ASSERT_EQ(found.row_start, w.row_start);
          ASSERT_EQ(found.columns, w.columns);
          ASSERT_EQ(found.values, expected);
          ASSERT_EQ(seen, std::vector<int>(seen.size(), 1));
        }
      }
    }
  }
}

TEST(CudaLayout, DealsWarpsAboutTheSameNumberOfNonzeros) {
  std::mt19937 random(2);
  const CsrMatrix<float> w = sparse::test::random_csr({768, 300, 0.1, Shape::skewed}, random);
  const TiledLayout layout = tiled_layout(w.view(), {});
  std::vector<std::int64_t> nonzeros;
  std::set<std::int32_t> rows;
  for (std::size_t place = 0; place < layout.rows_of.size(); ++place) {
    if (place % kWarpRows == 0) nonzeros.push_back(0);
    const std::int32_t row = layout.rows_of[place];
    if (row < 0) continue;
    EXPECT_TRUE(rows.insert(row).second);
    nonzeros.back() += w.row_start[std::size_t(row) + 1] - w.row_start[std::size_t(row)];
  }
  EXPECT_EQ(rows.size(), 768u);
  const auto [least, most] = std::ranges::minmax(nonzeros);
  EXPECT_LE(double(most), 1.05 * double(least));
}

TEST(CudaLayout, TakesLongRowsFirst) {
  const std::vector<std::int32_t> row_start{0, 2, 2, 5, 7};
  EXPECT_EQ(longest_first(4, row_start.data()), (std::vector<std::int32_t>{2, 0, 3, 1}));
}

TEST(CudaLayout, RefusesWhatItCannotCount) {
  const CsrMatrix<float> w;
  EXPECT_THROW(tiled_layout(w.view(), {0, 16, Number::f32}), Error);
  EXPECT_THROW(tiled_layout(w.view(), {40000, 16, Number::f32}), Error);
  EXPECT_THROW(tiled_layout(w.view(), {64, 17, Number::f32}), Error);
  EXPECT_EQ(tiled_layout(w.view(), {}).shape.panels, 0);
}

TEST(CudaForms, FollowTheTokensAndTheRows) {
  EXPECT_EQ(usual_form(768, 1, Number::f32), Form::few);
  EXPECT_EQ(usual_form(768, 128, Number::f32), Form::rows_32);
  EXPECT_EQ(usual_form(768, 4096, Number::f32), Form::rows_128);
  EXPECT_EQ(usual_form(768, 4096, Number::bf16), Form::rows_256);
  EXPECT_EQ(usual_form(30522, 20, Number::f32), Form::rows_128);
}

}  // namespace
}  // namespace bertx::sparse::cuda::test
