// Views of CSR matrices: conversions, the transposed index, and what validate() says about bad arrays.
#include "bertx/sparse/csr.h"

#include <algorithm>
#include <limits>
#include <string>

#include "bertx/error.h"
#include "patterns.h"

namespace bertx::sparse::test {
namespace {

std::vector<double> dense_of(const CsrMatrix<double>& w) {
  std::vector<double> dense(static_cast<std::size_t>(w.rows * w.cols), -1);
  csr_to_dense(w.view(), dense.data(), w.cols);
  return dense;
}

TEST(Conversion, DenseToCsrAndBack) {
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>{7, 5}, {1, 9}, {9, 1}, {0, 4}, {4, 0}}) {
    for (const double density : {0.0, 0.3, 1.0}) {
      const std::int64_t stride = cols + 3;
      std::vector<double> strided(static_cast<std::size_t>(rows * stride + 1), 77.0), packed;
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c) {
          packed.push_back(std::bernoulli_distribution(density)(random) ? normal(random) : 0.0);
          strided[static_cast<std::size_t>(r * stride + c)] = packed.back();
        }
      }
      const CsrMatrix<double> w = csr_from_dense(strided.data(), stride, rows, cols);
      validate(rows, cols, w.row_start, w.columns, std::int64_t(w.values.size()), "converted");
      EXPECT_EQ(dense_of(w), packed);
      EXPECT_EQ(std::count_if(packed.begin(), packed.end(), [](double v) { return v != 0; }), w.view().nnz());
      std::vector<double> back(strided.size(), 77.0);
      csr_to_dense(w.view(), back.data(), stride);
      EXPECT_EQ(back, strided) << "what lies between the rows stays as it was";
    }
  }
}

TEST(Conversion, AMaskedZeroStaysInThePattern) {
  const float dense[] = {1, 0, 3, /* gap */ 9, 0, 5, 6, /* gap */ 9};
  const std::uint8_t mask[] = {1, 1, 0, 1, 0, 255};
  const CsrMatrix<float> w = csr_from_masked(dense, 4, mask, 3, 2, 3);
  EXPECT_EQ(w.row_start, (std::vector<std::int32_t>{0, 2, 4}));
  EXPECT_EQ(w.columns, (std::vector<std::int32_t>{0, 1, 0, 2}));
  EXPECT_EQ(w.values, (std::vector<float>{1, 0, 0, 6}));
}

TEST(Conversion, NanIsNotZero) {
  const float dense[] = {0, std::numeric_limits<float>::quiet_NaN(), -0.0f};
  EXPECT_EQ(csr_from_dense(dense, 3, 1, 3).columns, std::vector<std::int32_t>{1});
}

TEST(Transposed, ListsEveryNonzeroByColumn) {
  std::mt19937 random(12);
  for (const Problem& p : {Problem{30, 50, 0.2}, Problem{50, 30, 0.7, Shape::empty_and_full}, Problem{0, 3, 1},
                           Problem{3, 0, 1}, Problem{4, 4, 0}}) {
    const CsrMatrix<float> w = random_csr(p, random);
    const TransposedIndex t = build_transposed(w.rows, w.cols, w.row_start.data(), w.columns.data());
    ASSERT_EQ(std::int64_t(t.column_start.size()), w.cols + 1);
    EXPECT_EQ(t.column_start.front(), 0);
    EXPECT_EQ(t.column_start.back(), w.view().nnz());
    for (std::int64_t c = 0; c < w.cols; ++c) {
      for (auto i = t.column_start[std::size_t(c)]; i < t.column_start[std::size_t(c) + 1]; ++i) {
        const std::int32_t row = t.row_of[std::size_t(i)], n = t.position[std::size_t(i)];
        EXPECT_TRUE(i == t.column_start[std::size_t(c)] || row > t.row_of[std::size_t(i) - 1]);
        EXPECT_EQ(w.columns[std::size_t(n)], c);
        EXPECT_GE(n, w.row_start[std::size_t(row)]);
        EXPECT_LT(n, w.row_start[std::size_t(row) + 1]);
      }
    }
  }
}

TEST(Validate, AcceptsWhatHolds) {
  validate(2, 3, std::vector<std::int32_t>{0, 2, 3}, std::vector<std::int32_t>{0, 2, 1}, 3, "ok");
  validate(0, 0, std::vector<std::int32_t>{0}, {}, 0, "empty");
  validate(2, 0, std::vector<std::int32_t>{0, 0, 0}, {}, 0, "no columns");
}

struct BadArrays {
  std::int64_t rows, cols;
  std::vector<std::int32_t> row_start, columns;
  std::int64_t values;
  const char* expected;
};

TEST(Validate, NamesTheArrayThePlaceWhatWasFoundAndWhatWasExpected) {
  const BadArrays cases[] = {
      {-1, 3, {0}, {}, 0, "a sparse matrix of -1 x 3, expected sizes from 0 to 2147483647"},
      {1, std::int64_t{1} << 40, {0, 0}, {}, 0, "1 x 1099511627776, expected sizes from 0 to 2147483647"},
      {2, 3, {0, 1}, {0}, 1, "row_start has 2 entries, expected 3 for 2 rows"},
      {0, 3, {}, {}, 0, "row_start has 0 entries, expected 1 for 0 rows"},
      {1, 3, {0, 2}, {0, 1}, 1, "values has 1 entries, expected 2 as columns has"},
      {1, 3, {1, 2}, {0, 1}, 2, "row_start[0] is 1, expected 0"},
      {1, 3, {-1, 2}, {0, 1}, 2, "row_start[0] is -1, expected 0"},
      {2, 3, {0, 2, 1}, {0, 1}, 2, "row_start[2] is 1, expected at least row_start[1] = 2"},
      {1, 3, {0, 5}, {0, 1}, 2, "row_start[1] is 5, expected at most the 2 entries of columns"},
      {1, 3, {0, 1}, {0, 1}, 2, "row_start[1] is 1, expected 2, the number of entries of columns"},
      {1, 3, {0, 2}, {0, 3}, 2, "columns[1] in row 0 is 3, expected 0 to 2"},
      {1, 3, {0, 1}, {-7}, 1, "columns[0] in row 0 is -7, expected 0 to 2"},
      {2, 3, {0, 1, 3}, {2, 2, 1}, 3, "columns[2] in row 1 is 1, expected more than columns[1] = 2"},
      {1, 3, {0, 2}, {1, 1}, 2, "columns[1] in row 0 is 1, expected more than columns[0] = 1"},
  };
  for (const BadArrays& bad : cases) {
    try {
      validate(bad.rows, bad.cols, bad.row_start, bad.columns, bad.values, "model.safetensors: a.weight");
      ADD_FAILURE() << "accepted, expected: " << bad.expected;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      const std::string text = error.what();
      EXPECT_EQ(text.rfind("model.safetensors: a.weight: ", 0), 0u) << text;
      EXPECT_NE(text.find(bad.expected), std::string::npos) << "found:    " << text << "\nexpected: " << bad.expected;
    }
  }
}

}  // namespace
}  // namespace bertx::sparse::test
