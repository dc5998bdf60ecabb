// Which weights are kept: what is compared with what, how zeros are spread over matrices, patterns of n of every m.
#include "pruning/selection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"
#include "pruning/masks.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

struct Matrix {
  std::int64_t rows, cols;
  std::vector<float> keys = {};
  std::vector<std::uint8_t> mask = {};

  std::int64_t kept(std::int64_t first, std::int64_t count) const {
    return std::accumulate(mask.begin() + first, mask.begin() + first + count, std::int64_t{0});
  }
  std::int64_t kept() const { return kept(0, rows * cols); }
};

std::vector<Candidates> candidates_of(std::vector<Matrix>& matrices, std::uint64_t seed) {
  test::RandomSource random(seed);
  std::vector<Candidates> all;
  for (Matrix& m : matrices) {
    m.keys.resize(static_cast<std::size_t>(m.rows * m.cols));
    for (float& key : m.keys) key = static_cast<float>(random.normal());
    m.mask.assign(m.keys.size(), 7);
    all.push_back({m.keys.data(), m.mask.data(), m.rows, m.cols});
  }
  return all;
}

// ---- scope ----------------------------------------------------------------------------------------------------------

TEST(Selection, InEachRowKeepsTheLargestOfTheRow) {
  for (const Key key : {Key::value, Key::magnitude}) {
    std::vector<Matrix> matrices{{7, 30}, {4, 10}, {3, 0}, {0, 5}};
    const std::vector<Candidates> all = candidates_of(matrices, 1);
    select(all, 0.7, {.scope = Scope::row}, key);
    const auto rank = [&](float x) { return key == Key::value ? x : std::abs(x); };
    for (const Matrix& m : matrices) {
      for (std::int64_t row = 0; row < m.rows; ++row) {
        EXPECT_EQ(m.kept(row * m.cols, m.cols), m.cols * 3 / 10);
        for (std::int64_t i = 0; i < m.cols; ++i) {
          std::int64_t larger = 0;
          for (std::int64_t j = 0; j < m.cols; ++j)
            larger += rank(m.keys[static_cast<std::size_t>(row * m.cols + j)]) >
                      rank(m.keys[static_cast<std::size_t>(row * m.cols + i)]);
          EXPECT_EQ(m.mask[static_cast<std::size_t>(row * m.cols + i)], larger < m.cols * 3 / 10 ? 1 : 0);
        }
      }
    }
  }
}

TEST(Selection, OfEqualKeysInARowTheEarlierIsKept) {
  std::vector<Matrix> matrices{{2, 6}};
  const std::vector<Candidates> all = candidates_of(matrices, 1);
  std::fill(matrices[0].keys.begin(), matrices[0].keys.end(), 2.0f);
  matrices[0].keys[5] = 3.0f;
  select(all, 0.5, {.scope = Scope::row}, Key::value);
  EXPECT_EQ(matrices[0].mask, (std::vector<std::uint8_t>{1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0}));
}

// ---- patterns -------------------------------------------------------------------------------------------------------

TEST(Pattern, EveryGroupKeepsItsLargestAndLeftOverColumnsTheSameShareRoundedUp) {
  for (const auto& [kept, of] : {std::pair<std::int64_t, std::int64_t>{2, 4}, {4, 8}, {1, 3}, {5, 7}, {1, 64}}) {
    std::vector<Matrix> matrices{{5, 24}, {3, 26}, {2, 3}};
    const std::vector<Candidates> all = candidates_of(matrices, 2);
    const Selection how{.pattern = parse_pattern(std::to_string(kept) + ":" + std::to_string(of))};
    select(all, how.pattern.sparsity(), how, Key::magnitude);
    for (const Matrix& m : matrices) {
      for (std::int64_t row = 0; row < m.rows; ++row) {
        for (std::int64_t first = 0; first < m.cols; first += of) {
          const std::int64_t count = std::min(of, m.cols - first), start = row * m.cols + first;
          EXPECT_EQ(m.kept(start, count), count == of ? kept : (kept * count + of - 1) / of);
          float largest_dropped = 0, smallest_kept = 1e9f;
          for (std::int64_t i = start; i < start + count; ++i) {
            const float size = std::abs(m.keys[static_cast<std::size_t>(i)]);
            if (m.mask[static_cast<std::size_t>(i)]) {
              smallest_kept = std::min(smallest_kept, size);
            } else {
              largest_dropped = std::max(largest_dropped, size);
            }
          }
          EXPECT_LE(largest_dropped, smallest_kept);
        }
      }
    }
  }
}

TEST(Pattern, OnTheWayOnlyWhatItDropsIsDropped) {
  for (const Scope scope : {Scope::local, Scope::row, Scope::global}) {
    std::vector<Matrix> matrices{{6, 40}, {10, 16}}, ends = matrices;
    const std::vector<Candidates> all = candidates_of(matrices, 3), end = candidates_of(ends, 3);
    const Selection how{.scope = scope, .pattern = parse_pattern("2:4")};
    select(end, 0.5, how, Key::value);
    select(all, 0.25, how, Key::value);
    EXPECT_EQ(matrices[0].kept() + matrices[1].kept(), (6 * 40 + 10 * 16) * 3 / 4);
    for (std::size_t n = 0; n < 2; ++n) {
      for (std::size_t i = 0; i < matrices[n].mask.size(); ++i) EXPECT_GE(matrices[n].mask[i], ends[n].mask[i]);
    }
  }
}

TEST(Pattern, NonsenseIsRefused) {
  for (const char* text : {"2:2", "0:4", "4:2", "2", "2:", ":4", "2:4:8", "a:b", "-1:4", "2:99999999999"}) {
    EXPECT_NE(usage_message([&] { parse_pattern(text); }).find("pattern: found \"" + std::string(text) + "\""),
              std::string::npos)
        << text;
  }
  EXPECT_NE(usage_message([] { check({.pattern = "2:4"}); }).find("sparsity: found 0.9 with pattern 2:4, expected 0.5"),
            std::string::npos);
  EXPECT_EQ(usage_message([] { check({.sparsity = 0.5, .pattern = "2:4"}); }), "no error");
  EXPECT_EQ(usage_message([] { check({.sparsity_is_stated = false, .pattern = "1:8"}); }), "no error");
  EXPECT_NE(usage_message([] {
              check({.sparsity = 0.5, .distribution = "erdos_renyi", .pattern = "2:4"});
            }).find("expected one of the two"),
            std::string::npos);
  EXPECT_NE(usage_message([] { check({.scope = "global", .distribution = "erdos_renyi"}); }).find("scope local or row"),
            std::string::npos);
}

TEST(Pattern, AModelHasItInEveryMatrix) {
  const auto backend = make_reference_backend();
  Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
  compress_now(*backend, model, {.sparsity = 0.5, .pattern = "2:4"});
  model.visit_linears([&](const std::string& path, Linear& linear) {
    const std::int64_t out = linear.weight->out(), in = linear.weight->in();
    const Storage dense = make_storage(*backend, out, in, DType::f64);
    linear.weight->materialize(*backend, dense.tensor);
    for (std::int64_t start = 0; start<out * in; start += start % in + 4> in ? in % 4 : 4) {
      const std::int64_t count = std::min<std::int64_t>(4, in - start % in);
      const double* w = dense.tensor.as<double>() + start;
      EXPECT_EQ(std::count_if(w, w + count, [](double x) { return x != 0; }), count / 2) << path;
    }
  });
}

// ---- distribution ---------------------------------------------------------------------------------------------------

TEST(Distribution, ErdosRenyiIsProportionalAndExactInTotal) {
  const std::vector<MatrixShape> shapes{{384, 384}, {1536, 384}, {384, 1536}, {100, 0}};
  for (const double sparsity : {0.5, 0.9, 0.97, 0.999}) {
    const std::vector<std::int64_t> kept = kept_counts(shapes, sparsity, Distribution::erdos_renyi);
    EXPECT_EQ(std::accumulate(kept.begin(), kept.end(), std::int64_t{0}),
              kept_of(384 * 384 + 2 * 1536 * 384, sparsity));
    EXPECT_NEAR(static_cast<double>(kept[0]) / (384 + 384), static_cast<double>(kept[1]) / (1536 + 384), 0.01);
    EXPECT_NEAR(static_cast<double>(kept[1]), static_cast<double>(kept[2]), 1);
    EXPECT_EQ(kept[3], 0);
  }
}

TEST(Distribution, ErdosRenyiCapsAtDense) {
  // The small ones want more than they have, one after the other.
  const std::vector<MatrixShape> shapes{{4, 4}, {40, 40}, {400, 400}};
  const std::vector<std::int64_t> kept = kept_counts(shapes, 0.1, Distribution::erdos_renyi);
  EXPECT_EQ(kept[0], 16);
  EXPECT_EQ(kept[1], 1600);
  EXPECT_EQ(kept[0] + kept[1] + kept[2], kept_of(16 + 1600 + 160000, 0.1));
  const std::vector<std::int64_t> all = kept_counts(shapes, 0.0, Distribution::erdos_renyi);
  EXPECT_EQ(all, (std::vector<std::int64_t>{16, 1600, 160000}));
}

TEST(Distribution, SensitivityMakesTheSumOfTheLossesLeast) {
  const std::vector<MatrixShape> shapes{{10, 10}, {10, 20}, {10, 10}};
  const std::vector<Sensitivity> losses{{{0, 0}, {0.5, 0.1}, {0.9, 1.0}, {1, 4}},
                                        {{0, 0}, {0.5, -0.1}, {0.9, 0.3}, {1, 9}},
                                        {{0, 0}, {0.5, 3}, {0.9, 3.5}, {1, 4}}};  // not convex: its hull is a line
  const auto loss = [&](std::size_t i, double sparsity) {
    const Sensitivity convex = i == 2 ? Sensitivity{{0, 0}, {1, 4}} : losses[i];
    for (std::size_t p = 1; p < convex.size(); ++p) {
      const SensitivityPoint &a = convex[p - 1], &b = convex[p];
      if (sparsity <= b.sparsity + 1e-12)
        return a.loss + (b.loss - a.loss) * (sparsity - a.sparsity) / (b.sparsity - a.sparsity);
    }
    return convex.back().loss;
  };
  for (const std::int64_t dropped : {40, 120, 200, 280, 360}) {
    const std::vector<std::int64_t> kept =
        kept_counts(shapes, static_cast<double>(dropped) / 400, Distribution::sensitivity, losses);
    ASSERT_EQ(kept[0] + kept[1] + kept[2], 400 - dropped);
    const auto sum = [&](std::int64_t a, std::int64_t b) {
      return loss(0, static_cast<double>(a) / 100) + loss(1, static_cast<double>(b) / 200) +
             loss(2, static_cast<double>(dropped - a - b) / 100);
    };
    double least = 1e9;
    for (std::int64_t a = 0; a <= 100; ++a) {
      for (std::int64_t b = 0; b <= 200; ++b) {
        if (dropped - a - b >= 0 && dropped - a - b <= 100) least = std::min(least, sum(a, b));
      }
    }
    EXPECT_NEAR(sum(100 - kept[0], 200 - kept[1]), least, 1e-9) << dropped;
  }
}

TEST(Distribution, AModelHasTheTotalThatWasAskedFor) {
  const auto backend = make_reference_backend();
  Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
  compress_now(*backend, model, {.sparsity = 0.6, .distribution = "erdos_renyi"});
  const Report found = report(*backend, model);
  EXPECT_EQ(found.encoder_nonzeros, kept_of(found.encoder_elements, 0.6));
  EXPECT_GT(found.matrices[4].sparsity(), 0.0);
}

}  // namespace
}  // namespace bertx::compress
