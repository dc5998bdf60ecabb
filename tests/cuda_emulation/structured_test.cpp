// 2:4 matrices: their layout on the host, and the product by tensor cores against the product in double.
#include <gtest/gtest-spi.h>

#include "cuda/structured_layout.h"
#include "cuda/tiling.h"
#include "sparse_problems.h"

namespace bertx::sparse::cuda::test {
namespace {

/// At most two nonzeros in each four columns; some fours with one or none, `full` only with two.
CsrMatrix<float> random_two_of_four(std::int64_t rows, std::int64_t cols, std::mt19937& random, bool full = false) {
  CsrMatrix<float> w;
  w.rows = rows;
  w.cols = cols;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t four = 0; four < cols; four += 4) {
      std::vector<std::int32_t> columns;
      for (int i = full || random() % 8 != 0 ? 2 : int(random() % 2); i > 0; --i) {
        const auto column = static_cast<std::int32_t>(four + random() % 4);
        if (column < cols && std::ranges::find(columns, column) == columns.end()) columns.push_back(column);
      }
      std::ranges::sort(columns);
      for (const std::int32_t column : columns) {
        w.columns.push_back(column);
        w.values.push_back(std::normal_distribution<float>()(random));
      }
    }
    w.row_start.push_back(static_cast<std::int32_t>(w.columns.size()));
  }
  return w;
}

class OnDeviceStructured {
 public:
  explicit OnDeviceStructured(const StructuredLayout& layout)
      : structured(layout.shape), values_(layout.values), places_(layout.places) {
    structured.values = values_.data();
    structured.places = places_.data();
  }
  Structured structured;

 private:
  OnDevice<std::uint16_t> values_;
  OnDevice<std::uint32_t> places_;
};

TEST(CudaStructured, KnowsTwoOfFour) {
  std::mt19937 random(1);
  CsrMatrix<float> w = random_two_of_four(9, 30, random);
  EXPECT_TRUE(two_of_four(w.view()));
  EXPECT_TRUE(two_of_four(CsrMatrix<float>{}.view()));
  const auto row_of = [&](std::vector<std::int32_t> columns) {
    CsrMatrix<float> one;
    one.rows = 1;
    one.cols = 12;
    one.values.assign(columns.size(), 1.0f);
    one.row_start.push_back(static_cast<std::int32_t>(columns.size()));
    one.columns = std::move(columns);
    return one;
  };
  EXPECT_TRUE(two_of_four(row_of({2, 3, 4, 5}).view()));  // three successive ones, of two fours
  EXPECT_FALSE(two_of_four(row_of({4, 5, 7}).view()));
  EXPECT_FALSE(two_of_four(row_of({0, 1, 8, 9, 10, 11}).view()));
}

// By hand, from the layout that the header tells: rows 1, 9 and 17 of a matrix of 40 columns.
TEST(CudaStructured, PlacesLieAsTheHardwareTakesThem) {
  CsrMatrix<float> w;
  w.rows = 18;
  w.cols = 40;
  const auto row = [&](std::vector<std::int32_t> columns) {
    for (const std::int32_t column : columns) {
      w.columns.push_back(column);
      w.values.push_back(float(column + 1));
    }
    w.row_start.push_back(static_cast<std::int32_t>(w.columns.size()));
  };
  for (int r = 0; r < 18; ++r) {
    row(r == 1    ? std::vector<std::int32_t>{1, 3, 7}
        : r == 9  ? std::vector<std::int32_t>{20, 22}
        : r == 17 ? std::vector<std::int32_t>{32}
                  : std::vector<std::int32_t>{});
  }
  const StructuredLayout layout = structured_layout(w.view());
  EXPECT_EQ(layout.shape.panels, 1);
  EXPECT_EQ(layout.shape.tiles, 1);
  ASSERT_EQ(layout.values.size(), 128u * 32);
  ASSERT_EQ(layout.places.size(), 4u * 2 * 32);
  // Row 1, columns 0 to 15: fours {1, 3}, {-, 3}, none, none; row 9 in the upper half: none, places 0 and 1.
  EXPECT_EQ(layout.places[4], 0x4444'44EDu);
  // Row 1, columns 16 to 31: none; row 9: none, {20, 22}, none, none.
  EXPECT_EQ(layout.places[5], 0x4484'4444u);
  // Row 17 is of the upper sixteen; columns 32 to 47 are the second word of its lanes.
  EXPECT_EQ(layout.places[32 + 6], 0x4444'4444u);  // {32, -}: places 0 and 1
  const auto value = [&](std::size_t r, std::size_t i) { return float_from_bf16(layout.values[r * 32 + i]); };
  EXPECT_EQ(value(1, 0), 2);
  EXPECT_EQ(value(1, 1), 4);
  EXPECT_EQ(value(1, 2), 0);  // stands for column 6
  EXPECT_EQ(value(1, 3), 8);
  EXPECT_EQ(value(9, 10), 21);
  EXPECT_EQ(value(17, 16), 33);
  EXPECT_EQ(value(17, 17), 0);
}

TEST(CudaStructured, TheProductAgreesWithTheProductInDouble) {
  for (const std::uint32_t seed : {7u, 8u}) {
    const Emulation emulation({.seed = seed});
    std::mt19937 random(seed);
    std::size_t next = seed;
    for (const auto& [rows, cols] : {std::pair{1, 1}, {5, 40}, {33, 64}, {128, 65}, {130, 200}, {300, 129}}) {
      const CsrMatrix<float> w = random_two_of_four(rows, cols, random, cols == 64);
      const OnDeviceStructured there(structured_layout(w.view()));
      for (int i = 0; i < 3; ++i) {
        const std::int64_t tokens = kTokens[next++ % kTokens.size()];
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(cols) + ", " + std::to_string(tokens) + " tokens");
        ProductCase one(w, tokens, Number::bf16, random);
        one.check([&](Input x, Output y, const Epilogue& epilogue) {
          return spmm_structured(nullptr, there.structured, x, y, tokens, epilogue);
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

/// One product of 40 tokens; static, as gtest wants what it expects to fail.
void check_product(const CsrMatrix<float>& w, const StructuredLayout& layout) {
  std::mt19937 random(4);
  const OnDeviceStructured there(layout);
  ProductCase one(w, 40, Number::bf16, random);
  one.check([&](Input x, Output y, const Epilogue& epilogue) {
    return spmm_structured(nullptr, there.structured, x, y, 40, epilogue);
  });
}

TEST(CudaStructured, AWrongPlaceIsSeen) {
  const Emulation emulation({});
  std::mt19937 random(3);
  static const CsrMatrix<float> w = random_two_of_four(40, 64, random, true);
  static StructuredLayout layout = structured_layout(w.view());
  check_product(w, layout);
  std::uint32_t& word = layout.places[9];
  word = (word & ~0xFu) | ((word & 0xFu) == 0x4u ? 0xEu : 0x4u);
  EXPECT_FATAL_FAILURE(check_product(w, layout), "");
}

TEST(CudaStructured, RefusesActivationsThatAreNotAligned) {
  const Emulation emulation({});
  std::mt19937 random(5);
  const CsrMatrix<float> w = random_two_of_four(8, 8, random);
  const OnDeviceStructured there(structured_layout(w.view()));
  const OnDevice<std::uint16_t> x(8 * 16);
  const OnDevice<float> y(8 * 16);
  EXPECT_NE(spmm_structured(nullptr, there.structured, {x.data() + 1, 16}, {y.data(), 16}, 9, {}), 0);
  EXPECT_NE(spmm_structured(nullptr, there.structured, {x.data(), 9}, {y.data(), 16}, 9, {}), 0);
}

}  // namespace
}  // namespace bertx::sparse::cuda::test
