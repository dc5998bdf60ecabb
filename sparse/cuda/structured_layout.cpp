#include "cuda/structured_layout.h"

#include <cassert>
#include <utility>

#include "bertx/sparse/bf16.h"
#include "cuda/tiling.h"

namespace bertx::sparse::cuda {
namespace {

/// Two different columns of four, ascending, and their numbers.
struct Pair {
  std::uint32_t first = 0, second = 1;
  float values[2] = {};

  std::uint32_t bits() const { return first | second << 2; }
};

/// Of nonzeros n … end of a row those in columns below `limit`, which are two at most; n becomes the one behind.
Pair take_pair(const CsrView<float>& w, std::int32_t& n, std::int32_t end, std::int64_t limit) {
  std::uint32_t columns[2];
  float values[2];
  int count = 0;
  for (; n < end && w.columns[n] < limit; ++n, ++count) {
    assert(count < 2);
    columns[count] = static_cast<std::uint32_t>(w.columns[n]) % 4;
    values[count] = w.values[n];
  }
  if (count == 0) return {};
  if (count == 2) return {columns[0], columns[1], {values[0], values[1]}};
  // The other is a zero beside it: the hardware wants two places, in ascending order.
  if (columns[0] < 3) return {columns[0], columns[0] + 1, {values[0], 0}};
  return {2, 3, {0, values[0]}};
}

}  // namespace

bool two_of_four(const CsrView<float>& w) {
  for (std::int64_t row = 0; row < w.rows; ++row) {
    for (std::int32_t n = w.row_start[row]; n + 2 < w.row_start[row + 1]; ++n) {
      if (w.columns[n] / 4 == w.columns[n + 2] / 4) return false;
    }
  }
  return true;
}

StructuredLayout structured_layout(const CsrView<float>& w) {
  StructuredLayout out;
  Structured& shape = out.shape;
  shape.rows = w.rows;
  shape.cols = w.cols;
  shape.panels = static_cast<int>(divide_up(w.rows, kStructuredRows));
  shape.tiles = static_cast<int>(divide_up(w.cols, kStructuredColumns));
  const std::int64_t rows = std::int64_t{shape.panels} * kStructuredRows,
                     cols = std::int64_t{shape.tiles} * kStructuredColumns;
  out.values.assign(static_cast<std::size_t>(rows * cols / 2), 0);
  // Rows and columns that fill up keep the places 0 and 1 of each four.
  out.places.assign(static_cast<std::size_t>(rows * cols / kWarp), 0x44444444u);
  for (std::int64_t row = 0; row < w.rows; ++row) {
    std::int32_t n = w.row_start[row];
    for (std::int64_t group = 0; group < cols / 4; ++group) {
      const Pair pair = take_pair(w, n, w.row_start[row + 1], 4 * group + 4);
      std::uint16_t* const values = out.values.data() + row * (cols / 2) + 2 * group;
      values[0] = bf16_from_float(pair.values[0]);
      values[1] = bf16_from_float(pair.values[1]);
      // [rows of 32][columns of 32][lane]
      const std::int64_t lane = row % 8 * 4 + row % 32 / 16 * 2 + group % 8 / 4;
      std::uint32_t& word = out.places[static_cast<std::size_t>((row / 32 * (cols / 32) + group / 8) * kWarp + lane)];
      const auto shift = static_cast<unsigned>(row % 16 / 8 * 16 + group % 4 * 4);
      word = (word & ~(0xFu << shift)) | pair.bits() << shift;
    }
  }
  return out;
}

}  // namespace bertx::sparse::cuda
