// Ranks by cost, by what they lose, and by time that a stand-in for a clock tells.
#include <gtest/gtest.h>

#include "factorization/factorizer.h"
#include "factors_fixture.h"

namespace bertx::compress {
namespace {

RankCost cost(std::int64_t out, std::int64_t in, std::int64_t beside = 0) { return {"w", out, in, out * in, beside}; }

const FastEnough never_asked = [](std::int64_t) -> bool {
  ADD_FAILURE() << "time was asked for";
  return false;
};

std::int64_t chosen(const RankCost& c, const Recipe& recipe,
                    const Eigen::VectorXd& energies = Eigen::VectorXd::Ones(1)) {
  return choose_rank(c, recipe, energies, never_asked);
}

TEST(Rank, BreaksEvenAt384And614) {
  const Recipe recipe;
  EXPECT_EQ(cost(768, 768).most(recipe), 384);
  EXPECT_EQ(cost(3072, 768).most(recipe), 614);
  EXPECT_EQ(cost(768, 3072).most(recipe), 614);
  EXPECT_EQ(cost(768, 3072).multiplies(614), 614 * 3840);
  EXPECT_EQ(cost(768, 768).most({.allow_slower = true}), 768);
}

TEST(Rank, ByRatioNeverCostsMoreThanThat) {
  EXPECT_EQ(chosen(cost(768, 768), {.ratio = 0.5}), 192);
  EXPECT_EQ(chosen(cost(3072, 768), {.ratio = 0.5}), 307);
  EXPECT_EQ(chosen(cost(768, 768), {.ratio = 1.0}), 384);
  for (const double ratio : {0.1, 0.37, 0.9}) {
    const RankCost c = cost(96, 40, 100);
    const std::int64_t rank = chosen(c, {.ratio = ratio});
    EXPECT_LE(c.multiplies(rank), ratio * 96 * 40);
    EXPECT_GT(c.multiplies(rank + 1), ratio * 96 * 40);
  }
}

TEST(Rank, ByWhatIsLost) {
  Eigen::VectorXd energies(5);
  energies << 50, 30, 15, 4, 1;
  EXPECT_EQ(rank_leaving(energies, 0.0), 5);
  EXPECT_EQ(rank_leaving(energies, 0.01), 4);
  EXPECT_EQ(rank_leaving(energies, 0.049), 4);
  EXPECT_EQ(rank_leaving(energies, 0.05), 3);
  EXPECT_EQ(rank_leaving(energies, 0.2), 2);
  EXPECT_EQ(rank_leaving(energies, 1.0), 1);
  EXPECT_EQ(rank_leaving(Eigen::VectorXd::Zero(4), 0.0), 1);
  const RankCost c = cost(40, 40);
  EXPECT_EQ(chosen(c, {.rank_by = "energy", .energy = 0.95}, energies), 3);
  EXPECT_EQ(chosen(c, {.rank_by = "error", .error = 0.1}, energies), 4);
  EXPECT_EQ(chosen(c, {.rank_by = "error", .error = 0.23}, energies), 3);
}

TEST(Rank, AMatrixStaysWhereFactorsAreNotCheaper) {
  EXPECT_EQ(chosen(cost(8, 8), {.rank = 4}), 4);
  EXPECT_EQ(chosen(cost(8, 8), {.rank = 5}), 0);
  EXPECT_EQ(chosen(cost(8, 8), {.rank = 5, .allow_slower = true}), 5);
  EXPECT_EQ(chosen(cost(8, 8, 20), {.rank = 3}), 0);
  EXPECT_EQ(chosen(cost(8, 8), {.rank_by = "energy", .energy = 0.99}, Eigen::VectorXd::Ones(8)), 0);
  RankCost sparse = cost(8, 8);
  sparse.whole = 20;  // of a csr matrix: rank 1 has 16
  EXPECT_EQ(chosen(sparse, {.rank = 1}), 1);
  EXPECT_EQ(chosen(sparse, {.rank = 2}), 0);
}

TEST(Rank, ByTimeTheLargestThatIsFastEnough) {
  const auto up_to = [](std::int64_t fast) { return [fast](std::int64_t rank) { return rank <= fast; }; };
  EXPECT_EQ(largest_fast_rank(384, up_to(1000)), 384);
  EXPECT_EQ(largest_fast_rank(384, up_to(200)), 192);  // multiples of 16
  EXPECT_EQ(largest_fast_rank(384, up_to(15)), 0);
  EXPECT_EQ(largest_fast_rank(614, up_to(614)), 608);
  EXPECT_EQ(largest_fast_rank(20, up_to(13)), 13);
  EXPECT_EQ(largest_fast_rank(20, up_to(0)), 0);
  EXPECT_EQ(largest_fast_rank(0, never_asked), 0);
  int asked = 0;
  largest_fast_rank(614, [&](std::int64_t) { return ++asked % 2 == 0; });
  EXPECT_LE(asked, 7);
  EXPECT_EQ(choose_rank(cost(768, 768), {.rank_by = "time"}, Eigen::VectorXd::Ones(768), up_to(100)), 96);
}

// A machine whose time is the number of multiplies.
TEST(Rank, ByTimeOfAModelsOwnProducts) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Recipe recipe{.method = "svd", .rank_by = "time", .speed_up = 1.5};
  int timed = 0;
  const SpeedUp by_multiplies = [&](Backend&, LinearWeight& whole, LinearWeight& other) {
    ++timed;
    EXPECT_EQ(whole.out(), other.out());
    EXPECT_EQ(whole.in(), other.in());
    return static_cast<double>(whole.multiplies()) / static_cast<double>(other.multiplies());
  };
  Factorizer factorizer(*backend, model, recipe, 0.0, by_multiplies);
  for (const Target& target : factorizer.targets()) factorizer.factorize(target, plain_metric());
  factorizer.keep();
  for (const auto& [path, linear] : maps_of(model)) {
    const auto* factors = dynamic_cast<const LowRankWeight*>(linear->weight.get());
    ASSERT_NE(factors, nullptr) << path;
    const std::int64_t size = factors->out() * factors->in(), sum = factors->out() + factors->in();
    EXPECT_LE(1.5 * static_cast<double>(factors->rank() * sum), size) << path;
    EXPECT_GT(1.5 * static_cast<double>((factors->rank() + 1) * sum), size) << path;
  }
  EXPECT_LE(timed, 9) << "matrices of one shape are timed once";

  Model slow = tiny_model(*backend);
  Factorizer nothing(*backend, slow, recipe, 0.0, [](Backend&, LinearWeight&, LinearWeight&) { return 1.0; });
  for (const Target& target : nothing.targets()) nothing.factorize(target, plain_metric());
  nothing.keep();
  EXPECT_EQ(kinds_of(slow), (std::map<std::string, int>{{"dense", 12}}));
}

TEST(Rank, TimesAreMeasuredAndLeaveTheWeightsAsTheyWere) {
  const auto backend = make_cpu_backend();
  Model model = tiny_model(*backend);
  LinearWeight& whole = *model.layers[0].query.weight;
  const auto other = low_rank_weight(*backend, {random_matrix(12, 3, 1), random_matrix(3, 12, 2)});
  EXPECT_GT(measured_speed_up(*backend, whole, *other), 0.0);
  EXPECT_EQ(whole.prepared(), nullptr);
  EXPECT_EQ(other->kernel(), "dense · dense");
}

TEST(Rank, WhatNoMatrixHasIsRefused) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = test::logits_of(*backend, model, batch);
  const std::string above = refusal(*backend, model, factors("svd", 13, true));
  EXPECT_NE(above.find("rank: found 13, expected at most 12, the full rank of"), std::string::npos) << above;
  const std::string useless = refusal(*backend, model, factors("svd", 9));
  EXPECT_NE(useless.find("rank: found 9, expected at most 6"), std::string::npos) << useless;
  const std::string ratio = refusal(*backend, model, {.method = "svd", .ratio = 0.01});
  EXPECT_NE(ratio.find("ratio: found 0.01, expected at least 0.16"), std::string::npos) << ratio;
  const std::string sparse =
      refusal(*backend, model, {.method = "low_rank_sparse", .ratio = 0.2, .remainder_sparsity = 0.8});
  EXPECT_NE(sparse.find("which rank 1 and the sparse part take"), std::string::npos) << sparse;
  EXPECT_NE(refusal(*backend, model, {.method = "svd", .rank_by = "guess"}).find("ratio, energy, error, time"),
            std::string::npos);
  Recipe both = factors("svd", 3);
  both.rank_by = "energy";
  EXPECT_NE(refusal(*backend, model, both).find("rank: found 3 beside rank_by energy"), std::string::npos);
  Recipe useless_ratio = factors("svd", 3);
  useless_ratio.ratio = 0.4;
  EXPECT_NE(refusal(*backend, model, useless_ratio).find("ratio: found 0.4"), std::string::npos);
  const std::string other = refusal(*backend, model, {.method = "svd", .energy = 0.8});
  EXPECT_NE(other.find("energy: found 0.8, expected it with rank_by energy, which is ratio"), std::string::npos)
      << other;
  EXPECT_EQ(test::logits_of(*backend, model, batch), before);
}

}  // namespace
}  // namespace bertx::compress
