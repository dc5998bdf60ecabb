// Packed weights with bf16 values, with the processor's bf16 products and without, against the double reference: over
// rounded inputs as tightly as f32, over the inputs as they are within what rounding them costs.
#include <omp.h>

#include <bit>
#include <limits>
#include <string>

#include "bertx/error.h"
#include "bertx/sparse/bf16.h"
#include "bertx/sparse/packed.h"
#include "bertx/sparse/reference.h"
#include "patterns.h"

namespace bertx::sparse::test {
namespace {

struct Mode {
  Isa isa;
  bool bf16_dot;
};

void PrintTo(const Mode& mode, std::ostream* out) { *out << isa_name(mode.isa) << (mode.bf16_dot ? "_bf16" : ""); }

class PackedBf16 : public ::testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    const auto [isa, bf16_dot] = GetParam();
    if (bf16_dot && !detected_bf16_dot()) GTEST_SKIP() << "this processor has no products of bf16 pairs";
    BERTX_SKIP_UNLESS_SUPPORTED(isa);
    force_isa(isa, bf16_dot);
  }

 private:
  const ForcedIsa restored_{active_isa(), active_bf16_dot()};
};

INSTANTIATE_TEST_SUITE_P(Isas, PackedBf16,
                         ::testing::Values(Mode{Isa::portable, false}, Mode{Isa::avx2, false}, Mode{Isa::avx512, false},
                                           Mode{Isa::avx512, true}),
                         [](const auto& instance) {
                           return std::string(isa_name(instance.param.isa)) + (instance.param.bf16_dot ? "_bf16" : "");
                         });

PackedCsr pack_bf16(const CsrMatrix<float>& w, std::int64_t tile = 0) { return pack(w.view(), {tile, Values::bf16}); }

double rounded(float value) { return float_from_bf16(bf16_from_float(value)); }

std::vector<double> rounded(const std::vector<double>& values) {
  std::vector<double> out;
  for (const double v : values) out.push_back(rounded(float(v)));
  return out;
}

Wide<double> round_values(const CsrMatrix<float>& w) { return {rounded(widen(w).values), w}; }

/// How far a sum over factors rounded to bf16 may lie from that over the factors: each rounding is off by at most 2^-8
/// of its factor, and Σ|a||b| <= |a||b|.
double bf16_tolerance(std::int64_t length, double norm) {
  return 2 * 0x1p-8 * (1 + 0x1p-8) * norm + tolerance(length, norm);
}

/// One product and the reference over the inputs as they are and over rounded ones.
struct Comparison {
  CsrMatrix<float> w;
  Activations x, residual, y;
  std::vector<float> bias;
  std::vector<double> exact, of_rounded;

  Comparison(const Problem& p, std::int64_t tokens, std::mt19937& random)
      : w(random_csr(p, random)),
        x(w.cols, tokens, std::int64_t(random() % 3) * 7, std::int64_t(random() % 5)),
        residual(w.rows, tokens, std::int64_t(random() % 3), 1),
        y(w.rows, tokens, std::int64_t(random() % 6), 3) {
    x.randomize(random);
    residual.randomize(random);
    for (std::int64_t r = 0; r < w.rows; ++r) bias.push_back(std::normal_distribution<float>()(random));
    const std::vector<double> wide_bias(bias.begin(), bias.end()), wide_residual = residual.doubles();
    const Epilogue<double> epilogue{wide_bias.data(), nullptr, wide_residual.data(), tokens};
    exact.resize(static_cast<std::size_t>(w.rows * tokens));
    of_rounded.resize(exact.size());
    const std::vector<double> wide = x.doubles(), narrow = rounded(wide);
    spmm_reference(widen(w).view(), wide.data(), tokens, exact.data(), tokens, tokens, epilogue);
    spmm_reference(round_values(w).view(), narrow.data(), tokens, of_rounded.data(), tokens, tokens, epilogue);
  }

  void multiply(const PackedCsr& packed) {
    spmm_packed(packed, x.data(), x.stride, y.data(), y.stride, y.tokens,
                {bias.data(), nullptr, residual.data(), residual.stride});
  }

  /// The largest difference from `expected` in units of what is allowed.
  template <class Tolerance>
  double worst(const std::vector<double>& expected, const Tolerance& allowed) {
    const std::vector<double> columns = x.doubles();
    double worst = 0;
    for (std::int64_t r = 0; r < w.rows; ++r) {
      for (std::int64_t t = 0; t < y.tokens; ++t) {
        double w_squares = 0, x_squares = 0;
        for (auto n = w.row_start[std::size_t(r)]; n < w.row_start[std::size_t(r) + 1]; ++n) {
          w_squares += std::pow(w.values[std::size_t(n)], 2);
          x_squares += std::pow(columns[std::size_t(w.columns[std::size_t(n)] * y.tokens + t)], 2);
        }
        const std::int64_t length = w.row_start[std::size_t(r) + 1] - w.row_start[std::size_t(r)];
        const double limit = allowed(length, std::sqrt(w_squares * x_squares)) +
                             tolerance(2, std::abs(bias[std::size_t(r)]) + std::abs(residual.at(r, t)));
        const double difference = std::abs(y.at(r, t) - expected[std::size_t(r * y.tokens + t)]);
        worst = difference <= limit ? std::max(worst, difference / limit)  // not so where it is NaN
                                    : std::max({worst, difference / limit, 1.0001});
      }
    }
    return worst;
  }
};

const Problem kProblems[] = {
    {64, 64, 0.1},
    {37, 131, 0.3},
    {200, 96, 0.05},
    {5, 300, 1.0},
    {1, 1, 1.0},
    {130, 1, 0.5},
    {1, 257, 0.4},
    {0, 16, 0.5},
    {16, 0, 0.5},
    {40, 40, 0.0},
    {300, 500, 0.02},
    {160, 700, 0.2},
    {97, 384, 0.1, Shape::skewed},
    {91, 210, 0.15, Shape::empty_and_full},
    {3300, 50, 0.08},  // more rows than one pass takes
};
const std::int64_t kTokens[] = {1,  2,  3,  4,  5,  7,  8,  9,  15,  16,  17,  31,  32, 33,
                                47, 48, 49, 63, 64, 65, 77, 96, 113, 128, 129, 200, 300};

TEST_P(PackedBf16, AgreesWithTheReference) {
  std::mt19937 random(21);
  std::size_t turn = 0;
  const auto check = [&](const Problem& p, std::int64_t tokens) {
    SCOPED_TRACE(text("rows ", p.rows, " cols ", p.cols, " density ", p.density, " tokens ", tokens));
    Comparison c(p, tokens, random);
    for (const std::int64_t tile : {0, 1, 13, 64, 5000}) {
      c.multiply(pack_bf16(c.w, tile));
      c.y.expect_guards_intact();
      EXPECT_LE(c.worst(c.of_rounded, tolerance), 1.0) << "against rounded inputs, tile " << tile;
      EXPECT_LE(c.worst(c.exact, bf16_tolerance), 1.0) << "against the inputs, tile " << tile;
    }
  };
  for (const Problem& p : kProblems) {
    for (int i = 0; i < 6; ++i) check(p, kTokens[turn++ * 8 % std::size(kTokens)]);
  }
  check({33, 40, 0.2}, 4096);
}

TEST_P(PackedBf16, AWrongValueShows) {
  std::mt19937 random(22);
  Comparison c({60, 200, 0.2}, 40, random);
  c.multiply(pack_bf16(c.w));
  EXPECT_LE(c.worst(c.exact, bf16_tolerance), 1.0);
  CsrMatrix<float> wrong = c.w;
  wrong.values[77] += 4;
  c.multiply(pack_bf16(wrong));
  EXPECT_GT(c.worst(c.exact, bf16_tolerance), 1.0);
  wrong.values[77] = c.w.values[77] * (1 + 0x1p-6f);  // one or two units of bf16
  c.multiply(pack_bf16(wrong));
  EXPECT_GT(c.worst(c.of_rounded, tolerance), 1.0);
}

TEST_P(PackedBf16, ActivationsAreRoundedAlikeOnEverySet) {
  // Times 1, each alone in its row: what comes out is what a value is rounded to.
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kLeast = std::numeric_limits<float>::min();
  std::vector<float> values = {
      0.0f,        -0.0f,      1.0f,        1.00390625f,   1.01171875f,   1.0039063f,
      -1.0039062f, kInfinity,  -kInfinity,  3.4028235e38f, 3.3895314e38f, 3.3961775e38f,
      kLeast,      kLeast / 2, -kLeast / 2, 1e-45f,        0.1f,          std::nextafter(kLeast, 0.0f)};
  std::mt19937 random(23);
  for (int i = 0; i < 1000; ++i) {
    const float v = std::bit_cast<float>(std::uint32_t(random()));
    if (!std::isnan(v)) values.push_back(v);
  }
  const auto tokens = std::int64_t(values.size());
  const std::int32_t row_start[] = {0, 1}, columns[] = {0};
  const float one[] = {1.0f};
  std::vector<float> y(values.size());
  spmm_packed(pack({1, 1, row_start, columns, one}, {0, Values::bf16}), values.data(), tokens, y.data(), tokens,
              tokens);
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(y[i], rounded(values[i])) << "of " << values[i];
}

TEST_P(PackedBf16, WhatIsNotFiniteStaysInItsTokenAndItsRows) {
  std::mt19937 random(24);
  const CsrMatrix<float> w = random_csr({90, 70, 0.1}, random);
  const PackedCsr packed = pack_bf16(w, 30);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t tokens : {1, 6, 12, 30, 48, 70}) {
      Activations x(w.cols, tokens, 0, 0), y(w.rows, tokens, 0, 0);
      x.randomize(random);
      const std::int64_t column = std::int64_t(random() % 70), token = tokens / 2;
      x.at(column, token) = bad;
      spmm_packed(packed, x.data(), x.stride, y.data(), y.stride, tokens);
      for (std::int64_t r = 0; r < w.rows; ++r) {
        const auto *const begin = w.columns.data() + w.row_start[std::size_t(r)], *const end =
                                                                                      w.columns.data() +
                                                                                      w.row_start[std::size_t(r) + 1];
        const bool met = std::binary_search(begin, end, std::int32_t(column));
        for (std::int64_t t = 0; t < tokens; ++t) {
          EXPECT_EQ(std::isfinite(y.at(r, t)), !(met && t == token)) << "row " << r << " token " << t;
          EXPECT_EQ(std::isnan(y.at(r, t)), met && t == token && std::isnan(bad));
        }
      }
    }
  }
}

TEST_P(PackedBf16, EpiloguesFollowTheSums) {
  std::mt19937 random(25);
  Comparison c({70, 90, 0.3}, 37, random);
  const PackedCsr packed = pack_bf16(c.w);
  Activations sums(70, 37, 0, 0);
  spmm_packed(packed, c.x.data(), c.x.stride, sums.data(), sums.stride, 37, {c.bias.data()});
  const Activation<float> squares = [](float* y, std::int64_t ldy, std::int64_t rows, std::int64_t tokens) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t t = 0; t < tokens; ++t) y[r * ldy + t] *= y[r * ldy + t];
    }
  };
  spmm_packed(packed, c.x.data(), c.x.stride, c.y.data(), c.y.stride, 37,
              {c.bias.data(), squares, c.residual.data(), c.residual.stride});
  for (std::int64_t r = 0; r < 70; ++r) {
    for (std::int64_t t = 0; t < 37; ++t) {
      const double sum = sums.at(r, t), residual = c.residual.at(r, t);
      ASSERT_NEAR(c.y.at(r, t), sum * sum + residual, tolerance(1, sum * sum + std::abs(residual)));
    }
  }
}

TEST_P(PackedBf16, IsTheSameForAnyNumberOfThreadsAndInAnyBatch) {
  std::mt19937 random(26);
  constexpr std::int64_t kAll = 300;
  const int before = omp_get_max_threads();
  for (const Problem& p : {Problem{400, 500, 0.2}, Problem{700, 300, 0.2, Shape::skewed}}) {
    const CsrMatrix<float> w = random_csr(p, random);
    const PackedCsr packed = pack_bf16(w);
    Activations x(w.cols, kAll, 0, 0), expected(w.rows, kAll, 0, 0);
    x.randomize(random);
    omp_set_num_threads(1);
    spmm_packed(packed, x.data(), kAll, expected.data(), kAll, kAll);
    for (int threads = 2; threads <= 8; ++threads) {
      Activations y(w.rows, kAll, 3, 1);
      omp_set_num_threads(threads);
      spmm_packed(packed, x.data(), kAll, y.data(), y.stride, kAll);
      EXPECT_EQ(y.doubles(), expected.doubles()) << threads << " threads";
    }
    for (const std::int64_t tokens : kTokens) {
      const std::int64_t first = std::int64_t(random() % std::uint64_t(kAll - tokens + 1));
      Activations y(w.rows, tokens, 1, 0);
      spmm_packed(packed, x.data() + first, kAll, y.data(), y.stride, tokens);
      for (std::int64_t r = 0; r < w.rows; ++r) {
        for (std::int64_t t = 0; t < tokens; ++t) {
          ASSERT_EQ(y.at(r, t), expected.at(r, first + t)) << "token " << t << " of " << tokens;
        }
      }
    }
  }
  omp_set_num_threads(before);
}

TEST_P(PackedBf16, TakesMoreColumnsThanSixteenBitsCount) {
  std::mt19937 random(27);
  Comparison c({3, 140000, 0.003}, 5, random);
  for (const std::int64_t tile : {0, 300, 4096, 1000000}) {
    c.multiply(pack_bf16(c.w, tile));
    EXPECT_LE(c.worst(c.of_rounded, tolerance), 1.0) << "tile " << tile;
  }
}

TEST(PackedBf16Weight, KnowsItsShapeAndIsSmall) {
  std::mt19937 random(28);
  const CsrMatrix<float> w = random_csr({768, 768, 0.1}, random);
  const PackedCsr packed = pack_bf16(w);
  EXPECT_EQ(packed.rows(), 768);
  EXPECT_EQ(packed.cols(), 768);
  EXPECT_EQ(packed.nnz(), w.view().nnz());
  EXPECT_EQ(packed.values(), Values::bf16);
  EXPECT_EQ(pack(w.view()).values(), Values::f32);
  EXPECT_LT(double(packed.bytes()), 4.5 * double(packed.nnz()));
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(bf16_from_float(1.0f), 0x3F80);
  EXPECT_EQ(bf16_from_float(1.00390625f), 0x3F80) << "halfway between 1 and the next: the even one";
  EXPECT_EQ(bf16_from_float(1.01171875f), 0x3F82) << "halfway below an even one";
  EXPECT_EQ(bf16_from_float(-1.0040f), 0xBF81);
  EXPECT_EQ(bf16_from_float(3.4028235e38f), 0x7F80);
  EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(std::bit_cast<float>(0x7F800001u)))));
  std::mt19937 random(29);
  for (int i = 0; i < 100000; ++i) {
    const float v = std::bit_cast<float>(std::uint32_t(random()));
    if (std::isnan(v) || std::abs(v) < std::numeric_limits<float>::min() || std::abs(v) > 3.38e38f) continue;
    const std::uint16_t bits = bf16_from_float(v);
    const double error = std::abs(double(float_from_bf16(bits)) - v);
    for (const int step : {-1, 1}) {
      EXPECT_LE(error, std::abs(double(float_from_bf16(std::uint16_t(bits + step))) - v)) << v;
    }
  }
}

}  // namespace
}  // namespace bertx::sparse::test
