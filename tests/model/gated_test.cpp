// Weights whose masks learn: hard concrete gates and blocks with scores.
#include <gtest/gtest.h>

#include <cmath>

#include "bertx/block_masked_weight.h"
#include "bertx/gated_weight.h"
#include "bertx/layers.h"
#include "bertx/sparse/isa.h"
#include "support.h"

namespace bertx {
namespace {

using test::RandomSource;

std::shared_ptr<Parameter> random_parameter(Backend& backend, RandomSource& random, std::int64_t rows,
                                            std::int64_t cols, double scale = 1) {
  auto p = std::make_shared<Parameter>();
  p->value = test::random_matrix(backend, random, rows, cols, scale);
  p->grad = make_storage(backend, rows, cols, backend.real());
  return p;
}

/// Σ r∘(W x + b), a loss whose gradient by the output is r.
struct Product {
  Backend& backend;
  Storage x, r;

  double loss(const LinearWeight& weight, Tensor bias = {}) const {
    Arena arena(backend);
    Exec exec{backend, arena};
    const Tensor y = exec.take(weight.out(), x.tensor.cols);
    weight.apply(exec, x.tensor, y, {bias});
    const std::vector<double> out = test::values_of(backend, y), weights = test::values_of(backend, r.tensor);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * weights[i];
    return sum;
  }
  void backward(Linear linear) const {
    Arena arena(backend);
    Exec exec{backend, arena};
    linear.backward(exec, x.tensor, r.tensor, {});
  }
};

// ---- hard concrete gates --------------------------------------------------------------------------------------------

TEST(GatedWeight, GatesAreThoseOfTheFormula) {
  const auto clamped = [](double x) { return std::clamp(1.2 * x - 0.1, 0.0, 1.0); };
  const auto check = [&](Backend& backend) {
    RandomSource random(1);
    const auto w = random_parameter(backend, random, 40, 37), scores = random_parameter(backend, random, 40, 37, 3);
    GatedWeight weight(backend, w, scores);
    const std::vector<double> s = test::values_of(backend, scores->tensor()),
                              settled = test::values_of(backend, weight.gates());
    weight.draw(backend, 99);
    const std::vector<double> drawn = test::values_of(backend, weight.gates());
    const double accepted = backend.real() == DType::f64 ? 1e-12 : 2e-6;
    std::size_t zeros = 0, ones = 0;
    for (std::size_t n = 0; n < s.size(); ++n) {
      EXPECT_NEAR(settled[n], clamped(1 / (1 + std::exp(-s[n]))), accepted);
      const std::uint32_t bits = random_u32(99, static_cast<std::uint32_t>(n / 37), static_cast<std::uint32_t>(n % 37));
      const double u = 1e-4 + (1 - 2e-4) * ((bits >> 8) + 0.5) / 16777216.0;
      EXPECT_NEAR(drawn[n], clamped(1 / (1 + std::exp(-(std::log(u) - std::log(1 - u) + s[n]) * 1.5))), accepted);
      zeros += drawn[n] == 0;
      ones += drawn[n] == 1;
    }
    EXPECT_GT(zeros, 200u);
    EXPECT_GT(ones, 200u);
  };
  check(*make_reference_backend());
  for (const sparse::Isa isa : {sparse::Isa::portable, sparse::Isa::avx2, sparse::Isa::avx512}) {
    if (isa > sparse::detected_isa()) continue;
    sparse::force_isa(isa);
    check(*make_cpu_backend());
  }
  sparse::force_isa(sparse::detected_isa());
}

// What the float kernels say of gradients is what the double reference says.
TEST(GatedWeight, BackendsAgreeOnGradients) {
  std::vector<std::vector<double>> of_scores;
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = make_backend(name);
    RandomSource random(8);
    const Product product{*backend, test::random_matrix(*backend, random, 37, 7),
                          test::random_matrix(*backend, random, 9, 7)};
    const auto w = random_parameter(*backend, random, 9, 37), scores = random_parameter(*backend, random, 9, 37);
    const auto weight = std::make_shared<GatedWeight>(*backend, w, scores);
    product.backward({weight, nullptr});
    weight->draw(*backend, 3);
    product.backward({weight, nullptr});
    of_scores.push_back(test::values_of(*backend, scores->gradient()));
  }
  EXPECT_TRUE(test::trusted(of_scores[0]));
  for (std::size_t n = 0; n < of_scores[0].size(); ++n) EXPECT_NEAR(of_scores[1][n], of_scores[0][n], 1e-4);
}

TEST(GatedWeight, NoiseIsAFunctionOfTheSeedAndRefreshTakesItAway) {
  const auto backend = make_backend("cpu");
  RandomSource random(2);
  const auto w = random_parameter(*backend, random, 20, 30);
  GatedWeight weight(*backend, w);
  const auto gates = [&] { return test::values_of(*backend, weight.gates()); };
  const std::vector<double> settled = gates();
  for (const double gate : settled) EXPECT_NEAR(gate, 1.2 / (1 + std::exp(-GatedWeight::first_score)) - 0.1, 1e-6);
  weight.draw(*backend, 5);
  const std::vector<double> five = gates();
  weight.draw(*backend, 6);
  EXPECT_NE(gates(), five);
  weight.draw(*backend, 5);
  EXPECT_EQ(gates(), five);
  weight.refresh(*backend);
  EXPECT_EQ(gates(), settled);
  // Scores far outside are gates of 0 and 1, not NaN.
  weight.scores().tensor().as<float>()[0] = -500;
  weight.scores().tensor().as<float>()[1] = 500;
  weight.draw(*backend, 7);
  EXPECT_EQ(gates()[0], 0);
  EXPECT_EQ(gates()[1], 1);
}

TEST(GatedWeight, GradientsOfWeightsAndScoresAreCentralDifferences) {
  const auto backend = make_reference_backend();
  RandomSource random(3);
  const Product product{*backend, test::random_matrix(*backend, random, 6, 7),
                        test::random_matrix(*backend, random, 9, 7)};
  for (const bool noise : {false, true}) {
    const auto w = random_parameter(*backend, random, 9, 6), scores = random_parameter(*backend, random, 9, 6);
    const auto weight = std::make_shared<GatedWeight>(*backend, w, scores);
    const auto set_gates = [&] { noise ? weight->draw(*backend, 4) : weight->refresh(*backend); };
    set_gates();
    product.backward({weight, nullptr});
    const auto loss = [&] {
      set_gates();
      return product.loss(*weight);
    };
    EXPECT_TRUE(test::gradient_agrees(loss, w->tensor(), w->gradient()));
    EXPECT_TRUE(test::gradient_agrees(loss, scores->tensor(), scores->gradient()));
    scores->gradient().as<double>()[5] += 1e-3;  // the check can fail
    EXPECT_FALSE(test::gradient_agrees(loss, scores->tensor(), scores->gradient()));
  }
}

// ---- blocks ---------------------------------------------------------------------------------------------------------

struct Blocks {
  std::int64_t out, in;
  BlockSize size;
  bool with_bias;
};

// Against a dense weight that is masked by hand: values, gradients, and the scores' as sums over blocks, for sizes that
// fit, that are cut off at the edges, of one weight, and of whole rows and columns.
TEST(BlockMaskedWeight, IsTheDenseWeightMaskedByHandAndScoresLearnBySumsOverBlocks) {
  const auto backend = make_reference_backend();
  RandomSource random(5);
  for (const Blocks& how : {Blocks{8, 6, {4, 3}, true},
                            {7, 11, {3, 4}, true},
                            {5, 6, {1, 6}, true},
                            {5, 9, {2, 100}, true},
                            {6, 5, {6, 1}, false},
                            {4, 5, {1, 1}, true},
                            {5, 4, {50, 50}, true},
                            {0, 6, {3, 2}, true},
                            {6, 0, {3, 2}, false}}) {
    const std::int64_t rows = blocks_of(how.out, how.size.height), cols = blocks_of(how.in, how.size.width);
    Linear linear;
    linear.bias = random_parameter(*backend, random, how.out, 1);
    const auto w = random_parameter(*backend, random, how.out, how.in);
    const auto scores = random_parameter(*backend, random, rows, cols);
    const auto weight =
        std::make_shared<BlockMaskedWeight>(*backend, w, how.size, scores, how.with_bias ? linear.bias : nullptr);
    linear.weight = weight;
    std::vector<std::uint8_t> bits;
    for (std::int64_t i = 0; i < rows * cols; ++i) bits.push_back(random.chance(0.5));
    weight->mask() = test::make_mask(*backend, rows, cols, bits);
    weight->refresh(*backend);
    const Product product{*backend, test::random_matrix(*backend, random, how.in, 7),
                          test::random_matrix(*backend, random, how.out, 7)};
    product.backward(linear);
    product.backward(linear);  // gradients accumulate

    // By hand.
    const double *x = product.x.tensor.as<double>(), *r = product.r.tensor.as<double>();
    std::vector<double> sums(bits.size()), effective;
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < how.out; ++i) {
      bool bias_kept = !how.with_bias;
      double db = 0;
      for (std::int64_t t = 0; t < 7; ++t) db += 2 * r[i * 7 + t];
      const double b = linear.bias->tensor().as<double>()[i];
      for (std::int64_t j = 0; j < how.in; ++j) {
        const auto block = static_cast<std::size_t>(i / how.size.height * cols + j / how.size.width);
        double g = 0;
        for (std::int64_t t = 0; t < 7; ++t) g += 2 * r[i * 7 + t] * x[j * 7 + t];
        const double value = w->tensor().as<double>()[i * how.in + j];
        sums[block] += g * value;
        effective.push_back(bits[block] ? value : 0.0);
        kept += bits[block];
        bias_kept |= bits[block] != 0;
        EXPECT_NEAR(w->gradient().as<double>()[i * how.in + j], bits[block] ? g : 0.0, 1e-12);
      }
      if (how.with_bias && cols == 1) sums[static_cast<std::size_t>(i / how.size.height)] += b * db;
      EXPECT_NEAR(linear.bias->gradient().as<double>()[i], bias_kept ? db : 0.0, 1e-12);
      if (how.with_bias) {
        EXPECT_EQ(weight->masked_bias().as<double>()[i], bias_kept ? b : 0.0);
      }
    }
    for (std::size_t n = 0; n < sums.size(); ++n) EXPECT_NEAR(scores->gradient().as<double>()[n], sums[n], 1e-11);
    EXPECT_EQ(weight->nonzeros(*backend), kept);
    const Storage dense = make_storage(*backend, how.out, how.in, DType::f64);
    weight->materialize(*backend, dense.tensor);
    EXPECT_EQ(test::values_of(*backend, dense.tensor), effective);

    // The bias is masked whether the product adds it or what follows does.
    if (!how.with_bias) continue;
    Arena arena(*backend);
    Exec exec{*backend, arena};
    const Tensor fused = exec.take(how.out, 7), after = exec.take(how.out, 7);
    linear.forward(exec, product.x.tensor, fused);
    linear.forward_without_bias(exec, product.x.tensor, after);
    backend->bias_activation(after, linear.bias_tensor(), Activation::none, after);
    EXPECT_TRUE(test::all_near(test::values_of(*backend, after), test::values_of(*backend, fused), DType::f64, 12, 10));
  }
}

TEST(BlockMaskedWeight, TwoMatricesLearnOneSetOfScores) {
  const auto backend = make_backend("cpu");
  RandomSource random(6);
  const auto scores = random_parameter(*backend, random, 5, 1);
  const auto in = random_parameter(*backend, random, 5, 3), out = random_parameter(*backend, random, 4, 5);
  const auto first = std::make_shared<BlockMaskedWeight>(*backend, in, BlockSize{1, 3}, scores, nullptr);
  const auto second = std::make_shared<BlockMaskedWeight>(*backend, out, BlockSize{4, 1}, scores, nullptr);
  const Product a{*backend, test::random_matrix(*backend, random, 3, 6), test::random_matrix(*backend, random, 5, 6)};
  const Product b{*backend, test::random_matrix(*backend, random, 5, 6), test::random_matrix(*backend, random, 4, 6)};
  a.backward({first, nullptr});
  b.backward({second, nullptr});
  for (std::int64_t j = 0; j < 5; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < 3; ++i) {
      sum += static_cast<double>(in->tensor().as<float>()[j * 3 + i]) *
             static_cast<double>(in->gradient().as<float>()[j * 3 + i]);
    }
    for (std::int64_t i = 0; i < 4; ++i) {
      sum += static_cast<double>(out->tensor().as<float>()[i * 5 + j]) *
             static_cast<double>(out->gradient().as<float>()[i * 5 + j]);
    }
    EXPECT_NEAR(scores->gradient().as<float>()[j], sum, 1e-4);
  }
}

}  // namespace
}  // namespace bertx
