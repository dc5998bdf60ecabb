// Dropout: the random stream itself, its rate, and one mask for forward, backward and every backend.
#include <bit>

#include "scene.h"

namespace bertx::test {
namespace {

// The stream is part of what makes a resumed or repeated run the same: it must never change.
TEST(RandomStream, IsAsItEverWas) {
  EXPECT_EQ(random_u32(0, 0, 0), 0x218F0C4Eu);
  EXPECT_EQ(random_u32(1, 0, 0), 0x02FC87A9u);
  EXPECT_EQ(random_u32(0, 1, 0), 0x7A90B386u);
  EXPECT_EQ(random_u32(0, 0, 1), 0x435B79C3u);
  EXPECT_EQ(random_u32(0x0123456789ABCDEFull, 767, 511), 0xDE6C3241u);
  EXPECT_EQ(random_u32(~0ull, ~0u, ~0u), 0x034288CBu);
}

TEST(RandomStream, ThresholdsAreThoseOfTheProbability) {
  EXPECT_EQ(dropout_threshold(0.0f), 0u);
  EXPECT_EQ(dropout_threshold(0.5f), 0x80000000u);
  EXPECT_EQ(dropout_threshold(0.25f), 0x40000000u);
  EXPECT_EQ(dropout_threshold(1.0f), 0xFFFFFFFFu);
}

// Bits of neighbours in row, column and seed are independent coins: half of them differ, six sigma allowed.
TEST(RandomStream, NeighboursAreIndependent) {
  const auto differing = [](std::uint32_t a, std::uint32_t b) { return std::popcount(a ^ b); };
  double row = 0, column = 0, seed = 0;
  constexpr int kSide = 100;
  for (std::uint32_t i = 0; i < kSide; ++i) {
    for (std::uint32_t j = 0; j < kSide; ++j) {
      row += differing(random_u32(7, i, j), random_u32(7, i + 1, j));
      column += differing(random_u32(7, i, j), random_u32(7, i, j + 1));
      seed += differing(random_u32(7, i, j), random_u32(8, i, j));
    }
  }
  const double bits = 32.0 * kSide * kSide, sigma = std::sqrt(bits) / 2;
  for (const double count : {row, column, seed}) EXPECT_NEAR(count, bits / 2, 6 * sigma);
}

class DropoutMask : public SubjectTest {};

TEST_P(DropoutMask, IsThatOfTheStreamToTheLastElement) {
  const auto backend = make();
  for (const float p : {0.1f, 0.5f, 0.9f}) {
    const std::int64_t rows = 67, cols = 133;
    const Dropout dropout{p, 0xFEDCBA9876543210ull};
    const std::vector<double> ones(static_cast<std::size_t>(rows * cols), 1.0);
    const Storage x = make_matrix(*backend, rows, cols, ones, 5), y = make_matrix(*backend, rows, cols, ones);
    backend->dropout(x.tensor, dropout, y.tensor);
    const auto values = values_of(*backend, y.tensor);
    double kept = 0;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const bool expected = random_u32(dropout.seed, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j)) >=
                              dropout_threshold(p);
        const double value = values[static_cast<std::size_t>(i * cols + j)];
        ASSERT_EQ(value != 0, expected) << i << ", " << j;
        ASSERT_NEAR(value, expected ? 1 / (1 - static_cast<double>(p)) : 0, 1e-5);
        kept += expected;
      }
    }
    const double count = static_cast<double>(rows * cols), sigma = std::sqrt(count * p * (1 - p));
    EXPECT_NEAR(kept, count * (1 - static_cast<double>(p)), 6 * sigma);
  }
}

TEST_P(DropoutMask, IsTheSameWithBiasAndResidual) {
  const auto backend = make();
  const Dropout dropout{0.3f, 42};
  Scene s(*backend, 2, 10);
  const Tensor x = s.matrix(19, 37), alone = s.output(19, 37), with = s.output(19, 37);
  const Tensor bias = s.zeros(19, 1), residual = s.zeros(19, 37);
  backend->dropout(x, dropout, alone);
  backend->copy(x, with);
  backend->bias_dropout_residual(with, bias, dropout, residual);
  EXPECT_EQ(values_of(*backend, alone), values_of(*backend, with));
  EXPECT_TRUE(trusted(values_of(*backend, with), 0.5));
}

TEST_P(DropoutMask, OffIsIdentity) {
  const auto backend = make();
  Scene s(*backend, 3, 10);
  const Tensor x = s.matrix(19, 37), y = s.output(19, 37);
  backend->dropout(x, {}, y);
  EXPECT_EQ(values_of(*backend, x), values_of(*backend, y));
}

// With q = 0 every probability is 1 / length; with v the unit vectors the context shows what was kept of each key.
// dv for a dcontext of unit vectors shows the mask of backward.
TEST_P(DropoutMask, OfAttentionIsCountedOverTheBatchForwardAndBackward) {
  const auto backend = make();
  const std::int64_t heads = 2, dim = 7, tokens = 10, lengths[] = {3, 7}, first_of[] = {0, 3};
  const AttentionShape shape{heads, dim};
  const Dropout dropout{0.4f, 77};
  Scene s(*backend, 4, 10);
  std::vector<double> units(static_cast<std::size_t>(heads * dim * tokens), 0.0);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (int b = 0; b < 2; ++b) {
      for (std::int64_t i = 0; i < lengths[b]; ++i) {
        units[static_cast<std::size_t>((h * dim + i) * tokens + first_of[b] + i)] = 1;
      }
    }
  }
  const Storage unit = make_matrix(*backend, heads * dim, tokens, units, 3);
  const Tensor zero = s.zeros(heads * dim, tokens), starts = s.indices({0, 3, 10});
  const Tensor context = s.output(heads * dim, tokens), log_sum_exp = s.output(heads, tokens);
  const Tensor dq = s.output(heads * dim, tokens), dk = s.output(heads * dim, tokens),
               dv = s.output(heads * dim, tokens);
  backend->attention(shape, zero, zero, unit.tensor, starts, dropout, context, log_sum_exp);
  backend->attention_grad(shape, zero, zero, unit.tensor, starts, dropout, context, log_sum_exp, unit.tensor, dq, dk,
                          dv);
  const auto forward = values_of(*backend, context), backward = values_of(*backend, dv);
  int dropped = 0;
  for (std::int64_t h = 0; h < heads; ++h) {
    for (int b = 0; b < 2; ++b) {
      for (std::int64_t key = 0; key < lengths[b]; ++key) {
        for (std::int64_t query = 0; query < lengths[b]; ++query) {
          const std::int64_t k = first_of[b] + key, q = first_of[b] + query;
          const bool kept = random_u32(dropout.seed, static_cast<std::uint32_t>(h * tokens + k),
                                       static_cast<std::uint32_t>(q)) >= dropout_threshold(dropout.p);
          const double expected = kept ? 1 / (1 - static_cast<double>(dropout.p)) / static_cast<double>(lengths[b]) : 0;
          EXPECT_NEAR(forward[static_cast<std::size_t>((h * dim + key) * tokens + q)], expected, 1e-6);
          EXPECT_NEAR(backward[static_cast<std::size_t>((h * dim + query) * tokens + k)], expected, 1e-6);
          dropped += !kept;
        }
      }
    }
  }
  EXPECT_GT(dropped, 20);  // of 116
  EXPECT_LT(dropped, 80);
}

INSTANTIATE_TEST_SUITE_P(Backends, DropoutMask, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
