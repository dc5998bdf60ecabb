// The optimal BERT surgeon against inverses that are formed whole.
#include <gtest/gtest.h>

#include <Eigen/LU>
#include <cmath>

#include "bertx/sparse/isa.h"
#include "pruning/fisher.h"
#include "pruning/masks.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

std::vector<std::vector<float>> random_gradients(std::int64_t count, std::int64_t size, std::uint64_t seed) {
  test::RandomSource random(seed);
  std::vector<std::vector<float>> gradients(static_cast<std::size_t>(count));
  for (auto& g : gradients) {
    for (const double x : random.normals(size, 0.1)) g.push_back(static_cast<float>(x));
  }
  return gradients;
}

// The inverse by the paper's recursion, in double, over the whole of one block.
MatrixXd inverse_by_recursion(const std::vector<std::vector<float>>& gradients, std::int64_t first, std::int64_t n,
                              double damp) {
  MatrixXd inverse = MatrixXd::Identity(n, n) / damp;
  const auto m = static_cast<double>(gradients.size());
  for (const std::vector<float>& gradient : gradients) {
    const VectorXd g = Eigen::Map<const Eigen::VectorXf>(gradient.data() + first, n).cast<double>();
    const VectorXd q = inverse * g;
    inverse -= q * q.transpose() / (m + g.dot(q));
  }
  return inverse;
}

BlockFisher fisher_of(const std::vector<std::vector<float>>& gradients, std::int64_t size, std::int64_t block,
                      double damp) {
  BlockFisher fisher(size, block);
  const std::vector<std::uint8_t> alive(static_cast<std::size_t>(size), 1);
  for (std::size_t first = 0; first < gradients.size(); first += 7) {
    std::vector<const float*> rows;
    for (std::size_t k = first; k < std::min(gradients.size(), first + 7); ++k) rows.push_back(gradients[k].data());
    fisher.add(rows, std::vector<float>(rows.size(), 1.0f), alive.data());
  }
  fisher.invert(static_cast<std::int64_t>(gradients.size()), damp);
  return fisher;
}

// ---- the mathematics ------------------------------------------------------------------------------------------------

TEST(OptimalBertSurgeon, ScoresAndUpdatesAreThoseOfTheDenseInverse) {
  for (const sparse::Isa isa : {sparse::Isa::portable, sparse::Isa::avx2, sparse::Isa::avx512}) {
    if (isa > sparse::detected_isa()) continue;
    sparse::force_isa(isa);
    for (const std::int64_t block : {1, 5, 16, 50}) {
      const std::int64_t size = 123;
      const double damp = 1e-4;
      const auto gradients = random_gradients(30, size, 1);
      const BlockFisher fisher = fisher_of(gradients, size, block, damp);
      std::vector<float> w, scores(static_cast<std::size_t>(size));
      for (const double x : test::RandomSource(2).normals(size)) w.push_back(static_cast<float>(x));
      fisher.scores(w.data(), scores.data());
      std::vector<std::uint8_t> gone(static_cast<std::size_t>(size));
      test::RandomSource random(3);
      for (auto& g : gone) g = random.chance(0.3);
      std::vector<float> pruned = w;
      fisher.prune(gone.data(), pruned.data());
      for (std::int64_t first = 0; first < size; first += block) {
        const std::int64_t n = std::min(block, size - first);
        // The recursion of the paper is the inverse of damp · I + (1 / m) Σ g gᵀ.
        const MatrixXd inverse = inverse_by_recursion(gradients, first, n, damp);
        MatrixXd whole = damp * MatrixXd::Identity(n, n);
        for (const auto& gradient : gradients) {
          const VectorXd g = Eigen::Map<const Eigen::VectorXf>(gradient.data() + first, n).cast<double>();
          whole += g * g.transpose() / static_cast<double>(gradients.size());
        }
        ASSERT_TRUE((whole * inverse).isIdentity(1e-8));
        VectorXd want = Eigen::Map<const Eigen::VectorXf>(w.data() + first, n).cast<double>(), push = VectorXd::Zero(n);
        for (std::int64_t i = 0; i < n; ++i) {
          const double score = want(i) * want(i) / (2 * inverse(i, i));
          EXPECT_NEAR(scores[static_cast<std::size_t>(first + i)], score, 1e-4 * score);
          if (gone[static_cast<std::size_t>(first + i)]) push(i) = want(i) / inverse(i, i);
        }
        want -= inverse * push;
        for (std::int64_t i = 0; i < n; ++i) {
          const auto at = static_cast<std::size_t>(first + i);
          if (gone[at]) {
            EXPECT_EQ(pruned[at], 0.0f);
          } else {
            EXPECT_NEAR(pruned[at], want(i), 2e-4 * (1 + std::abs(want(i)))) << "block " << block << " weight " << at;
          }
        }
      }
    }
  }
  sparse::force_isa(sparse::detected_isa());
}

// One weight of a block: what is left is the least of the quadratic model where that weight is 0.
TEST(OptimalBertSurgeon, OneWeightIsTheClosedForm) {
  const std::int64_t n = 12;
  const double damp = 1e-3;
  const auto gradients = random_gradients(40, n, 4);
  const MatrixXd h = inverse_by_recursion(gradients, 0, n, damp).inverse();
  const BlockFisher fisher = fisher_of(gradients, n, 50, damp);
  std::vector<float> w;
  for (const double x : test::RandomSource(5).normals(n)) w.push_back(static_cast<float>(x));
  std::vector<std::uint8_t> gone(static_cast<std::size_t>(n));
  gone[0] = 1;
  std::vector<float> pruned = w;
  fisher.prune(gone.data(), pruned.data());
  const VectorXd rest = h.bottomRightCorner(n - 1, n - 1).inverse() * h.bottomLeftCorner(n - 1, 1) * w[0];
  VectorXd difference(n);
  difference(0) = -w[0];
  for (std::int64_t i = 1; i < n; ++i) {
    EXPECT_NEAR(pruned[static_cast<std::size_t>(i)], w[static_cast<std::size_t>(i)] + rest(i - 1), 1e-4);
    difference(i) = pruned[static_cast<std::size_t>(i)] - w[static_cast<std::size_t>(i)];
  }
  std::vector<float> scores(static_cast<std::size_t>(n));
  fisher.scores(w.data(), scores.data());
  EXPECT_NEAR(difference.dot(h * difference) / 2, scores[0], 1e-4 * scores[0]);
}

TEST(OptimalBertSurgeon, WhatIsNotAliveTakesNoPart) {
  const std::int64_t n = 20;
  auto gradients = random_gradients(30, n, 6);
  BlockFisher masked(n, 50);
  std::vector<std::uint8_t> alive(static_cast<std::size_t>(n), 1);
  for (const std::size_t i : {3, 4, 17}) alive[i] = 0;
  std::vector<const float*> rows;
  for (const auto& g : gradients) rows.push_back(g.data());
  masked.add(rows, std::vector<float>(rows.size(), 0.5f), alive.data());
  masked.invert(30, 1e-3);
  for (auto& g : gradients) {
    for (std::size_t i = 0; i < g.size(); ++i) g[i] *= alive[i] ? 0.5f : 0.0f;
  }
  const BlockFisher zeroed = fisher_of(gradients, n, 50, 1e-3);
  const std::vector<float> w(static_cast<std::size_t>(n), 1.0f);
  std::vector<float> a(static_cast<std::size_t>(n)), b = a;
  masked.scores(w.data(), a.data());
  zeroed.scores(w.data(), b.data());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5 * b[i]);
  EXPECT_NEAR(a[3], 0.5e-3, 1e-9);  // of the damping alone

  // One gradient leaves 49 directions to the damping, which float sums cannot tell from 0 beside large gradients.
  const std::vector<float> large(50, 1000.0f), ones(50, 1.0f);
  const std::vector<std::uint8_t> all(50, 1);
  BlockFisher flat(50, 50);
  const float* one_large = large.data();
  flat.add({&one_large, 1}, std::vector<float>{1.0f}, all.data());
  flat.invert(1, 1e-7);
  std::vector<float> finite(50);
  flat.scores(ones.data(), finite.data());
  for (const float score : finite) EXPECT_TRUE(std::isfinite(score) && score > 0);

  BlockFisher broken(1, 50);
  const float nothing = std::nanf("");
  const float* one = &nothing;
  broken.add({&one, 1}, std::vector<float>{1.0f}, alive.data());
  EXPECT_THROW(broken.invert(1, 1e-7), Error);
}

// ---- on models ------------------------------------------------------------------------------------------------------

TEST(OptimalBertSurgeon, GroupsThreadsAndBackendsAgree) {
  const std::vector<EncodedExample> examples = tiny_examples(60);
  const Calibration calibration{examples, LabelKind::single_label};
  Recipe recipe{.method = "obert", .sparsity = 0.6};
  recipe.fisher_gradients = 20;
  recipe.damp = 1e-4;
  std::vector<double> first;
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = make_backend(name);
    Model model = tiny_model(*backend);
    compress_now(*backend, model, recipe, calibration);
    const std::vector<double> w = weights_of(*backend, model);
    EXPECT_NEAR(share_of_zeros(w), 0.6, 1e-3);
    if (first.empty()) first = w;
    std::size_t different = 0;
    for (std::size_t i = 0; i < w.size(); ++i) different += std::abs(w[i] - first[i]) > 1e-3;
    EXPECT_LE(different, w.size() / 200) << name;  // of two scores that are nearly equal either may win
  }
  // All matrices one after the other, with gradients computed anew, are the same as all at a time.
  const auto backend = make_reference_backend();
  Config config = make_config(1, 96, 3, 640, 23, 16);
  config.head = HeadKind::sequence_classification;
  config.labels = {"a", "b", "c"};
  std::vector<std::vector<double>> both;
  for (const std::int64_t mebibytes : {4096, 1}) {
    recipe.fisher_memory = mebibytes;
    recipe.fisher_gradients = 4;
    recipe.calibration_samples = 8;
    Model model = make_model(*backend, config, 3);
    compress_now(*backend, model, recipe, calibration);
    both.push_back(weights_of(*backend, model));
  }
  EXPECT_EQ(both[0], both[1]);
  EXPECT_NEAR(share_of_zeros(both[0]), 0.6, 1e-3);
}

TEST(OptimalBertSurgeon, RepeatedEstimatesKeepWhatIsZeroInAnyForm) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(20);
  for (const char* kind : {"masked", "csr", "shared", "few_heads", "no_heads"}) {
    for (const double sparsity : {0.3, 0.8}) {
      Model model = tiny_model(*backend);
      test::represent(*backend, model, kind, 6);
      const std::vector<double> before = weights_of(*backend, model);
      Recipe recipe{.method = "obert", .sparsity = sparsity};
      recipe.recomputations = 3;
      compress_now(*backend, model, recipe, {examples, LabelKind::single_label});
      const std::vector<double> after = weights_of(*backend, model);
      ASSERT_EQ(before.size(), after.size());
      for (std::size_t i = 0; i < after.size(); ++i) {
        EXPECT_TRUE(before[i] != 0.0 || after[i] == 0.0) << kind;
      }
      EXPECT_GE(share_of_zeros(after), sparsity - 1e-3) << kind;
    }
  }
}

TEST(OptimalBertSurgeon, PatternsAreCounted) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(20);
  Model model = tiny_model(*backend);
  compress_now(*backend, model, {.method = "obert", .sparsity_is_stated = false, .pattern = "1:2"},
               {examples, LabelKind::single_label});
  const std::vector<double> w = weights_of(*backend, model);
  for (std::size_t i = 0; i + 1 < w.size(); i += 2) EXPECT_EQ((w[i] != 0) + (w[i + 1] != 0), 1);
}

// ---- during training ------------------------------------------------------------------------------------------------

TEST(OptimalBertSurgeon, PrunesStepByStepDuringTrainingAndResumesBitForBit) {
  const std::vector<EncodedExample> examples = tiny_examples(30);
  Recipe recipe{
      .method = "obert", .sparsity = 0.8, .schedule_begin = 0.2, .schedule_end = 0.8, .initial_sparsity = 0.5};
  recipe.recomputations = 3;
  recipe.fisher_gradients = 10;
  const Trained whole = trained(recipe, examples);
  expect_resumes(recipe, examples, {6});
  ASSERT_EQ(whole.sparsities.size(), 12u);
  for (std::size_t step = 0; step < 12; ++step) {  // before steps 2, 6 (rounded up from 5.5) and 9
    const double want = step < 2 ? 0.0 : step < 6 ? 0.5 : step < 9 ? 0.8 - 0.3 * 0.125 : 0.8;
    EXPECT_NEAR(whole.sparsities[step], want, 1e-3) << step;
  }
  EXPECT_NEAR(share_of_zeros(whole.weights), 0.8, 1e-3);
}

TEST(OptimalBertSurgeon, NonsenseIsRefused) {
  EXPECT_THROW(check({.method = "obert", .recomputations = 0}), Error);
  EXPECT_THROW(check({.method = "obert", .fisher_gradients = 0}), Error);
  EXPECT_THROW(check({.method = "obert", .fisher_memory = 0}), Error);
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  EXPECT_THROW(compress_now(*backend, model, {.method = "obert"}), Error);
}

}  // namespace
}  // namespace bertx::compress
