// The search under one budget, and the rearrangement: against all choices on tiny problems.
#include "structure/search.h"

#include <cmath>

#include "structure/latency.h"
#include "structure_fixture.h"

namespace bertx::compress {
namespace {

Scores random_importance(test::RandomSource& random, const std::vector<std::int64_t>& sizes) {
  Scores scores;
  for (const std::int64_t size : sizes) {
    std::vector<double> of_layer = random.normals(size);
    for (double& score : of_layer) score *= score;
    scores.push_back(of_layer);
  }
  return scores;
}

// The parts of all layers by the bits of a number.
KeptParts by_bits(std::uint32_t bits, const Scores& scores) {
  KeptParts keep;
  for (const auto& layer : scores) {
    keep.emplace_back();
    for (std::size_t n = 0; n < layer.size(); ++n, bits >>= 1) keep.back().push_back(bits & 1);
  }
  return keep;
}

double worth(const KeptParts& keep, const Scores& scores) {
  double sum = 0;
  for (std::size_t l = 0; l < keep.size(); ++l) {
    for (std::size_t n = 0; n < keep[l].size(); ++n) sum += keep[l][n] ? scores[l][n] : 0.0;
  }
  return sum;
}

TEST(Search, WithEvenCostsItIsTheBestOfAllChoices) {
  test::RandomSource random(3);
  for (int trial = 0; trial < 6; ++trial) {
    const Scores heads = random_importance(random, {2, 3}), neurons = random_importance(random, {4, 3});
    const PartCosts costs{even_costs(2.5, 3), even_costs(0.75, 4)};
    const double full = 5 * 2.5 + 7 * 0.75;
    for (const double share : {0.05, 0.3, 0.5, 0.8, 1.0}) {
      const double budget = share * full;
      double best = 0;
      for (std::uint32_t h = 0; h < 32; ++h) {
        for (std::uint32_t n = 0; n < 128; ++n) {
          const KeptParts some_heads = by_bits(h, heads), some_neurons = by_bits(n, neurons);
          if (cost_of(costs, some_heads, some_neurons) > budget + 1e-9) continue;
          best = std::max(best, worth(some_heads, heads) + worth(some_neurons, neurons));
        }
      }
      const FoundParts found = search_parts(heads, neurons, costs, budget);
      EXPECT_NEAR(worth(found.heads, heads) + worth(found.neurons, neurons), best, 1e-12) << trial << " " << share;
      EXPECT_LE(cost_of(costs, found.heads, found.neurons), budget * (1 + 1e-9));
    }
  }
}

// Each number of heads has the whole budget before it: with dear heads first and none left for neurons, a later
// candidate must not inherit what an earlier one has spent.
TEST(Search, MeasuredCostsKeepToTheBudgetAndAreSpent) {
  test::RandomSource random(4);
  const Scores heads = random_importance(random, {6, 6, 6}), neurons = random_importance(random, {40, 40, 40});
  const PartCosts costs{costs_between({{0, 1.0}, {1, 1.5}, {3, 1.6}, {6, 3.0}}),
                        costs_between({{0, 0.9}, {10, 2.0}, {20, 1.9}, {40, 5.0}})};
  const KeptParts all_heads = by_bits(~0u, heads), all_neurons(3, std::vector<bool>(40, true));
  const double full = cost_of(costs, all_heads, all_neurons);
  EXPECT_NEAR(full, 3 * 2.0 + 3 * 4.1, 1e-12);
  double last = -1;
  for (const double share : {0.1, 0.2, 0.35, 0.5, 0.75, 0.9, 1.0}) {
    const FoundParts found = search_parts(heads, neurons, costs, share * full);
    const double spent = cost_of(costs, found.heads, found.neurons);
    EXPECT_LE(spent, share * full * (1 + 1e-9));
    EXPECT_GE(spent, share * full - 0.6) << share;  // less than the dearest step is left
    const double gained = worth(found.heads, heads) + worth(found.neurons, neurons);
    EXPECT_GT(gained, last) << share;
    last = gained;
  }
  EXPECT_NEAR(last, worth(all_heads, heads) + worth(all_neurons, neurons), 1e-9);
}

TEST(Search, CurvesBeginAtZeroAndNeverFall) {
  EXPECT_EQ(costs_between({{0, 2.0}, {2, 4.0}, {3, 3.0}, {5, 8.0}}), (CostCurve{0, 1, 2, 2, 3.5, 6}));
  EXPECT_EQ(even_costs(1.5, 2), (CostCurve{0, 1.5, 3}));
  EXPECT_EQ(costs_between({{0, 2.0}}), CostCurve{0});
  const auto backend = make_cpu_backend();
  const Model model = classifier(*backend);
  const PartCosts costs = measure_part_latency(*backend, model);
  ASSERT_EQ(costs.heads.size(), 4u);
  ASSERT_EQ(costs.neurons.size(), 11u);
  for (const CostCurve& curve : {costs.heads, costs.neurons}) {
    EXPECT_EQ(curve.front(), 0.0);
    EXPECT_TRUE(std::ranges::is_sorted(curve));
  }
}

TEST(Rearrange, NeverRaisesTheLossAndEndsWhereNoSwapLowersIt) {
  test::RandomSource random(5);
  int lowered = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const std::int64_t batches = 6, parts = 12;
    const std::vector<double> values = random.normals(batches * parts);
    const Eigen::MatrixXd gradients = Eigen::Map<const Eigen::MatrixXd>(values.data(), batches, parts);
    std::vector<bool> keep(static_cast<std::size_t>(parts));
    for (std::size_t n = 0; n < keep.size(); ++n) keep[n] = random.chance(0.5);
    const auto count = std::ranges::count(keep, true);
    const double before = fisher_loss(gradients, keep);
    // Naively: gᵀ F g with F = Σ g gᵀ over the removed parts.
    Eigen::VectorXd removed(parts);
    for (std::size_t n = 0; n < keep.size(); ++n) removed(static_cast<Eigen::Index>(n)) = !keep[n];
    EXPECT_NEAR(before, removed.dot(gradients.transpose() * gradients * removed), 1e-9);

    rearrange(gradients, keep);
    const double after = fisher_loss(gradients, keep);
    EXPECT_EQ(std::ranges::count(keep, true), count);
    EXPECT_LE(after, before * (1 + 1e-12));
    lowered += after < 0.9 * before;
    for (std::size_t i = 0; i < keep.size(); ++i) {
      for (std::size_t j = 0; j < keep.size(); ++j) {
        if (keep[i] || !keep[j]) continue;
        std::vector<bool> swapped = keep;
        swapped[i] = true, swapped[j] = false;
        EXPECT_GE(fisher_loss(gradients, swapped), after * (1 - 1e-9));
      }
    }
  }
  EXPECT_GT(lowered, 10) << "MISTRUSTED";
}

TEST(Rearrange, NothingToSwapIsLeftAlone) {
  const Eigen::MatrixXd gradients = Eigen::MatrixXd::Random(3, 4);
  for (const bool all : {true, false}) {
    std::vector<bool> keep(4, all);
    rearrange(gradients, keep);
    EXPECT_EQ(keep, std::vector<bool>(4, all));
  }
  std::vector<bool> none;
  rearrange(Eigen::MatrixXd(3, 0), none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace bertx::compress
