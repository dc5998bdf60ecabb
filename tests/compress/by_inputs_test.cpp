// Wanda and SparseGPT against what they are by definition.
#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <cmath>
#include <map>

#include "calibration/examples.h"
#include "pruning/optimal_update.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

using Eigen::MatrixXd;

RowMatrix dense(Backend& backend, const LinearWeight& weight) {
  const Storage all = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, all.tensor);
  const std::vector<double> values = test::values_of(backend, all.tensor);
  return Eigen::Map<const RowMatrix>(values.data(), weight.out(), weight.in());
}

std::vector<std::pair<std::string, Linear*>> maps_of(Model& model) {
  std::vector<std::pair<std::string, Linear*>> maps;
  model.visit_linears([&](const std::string& path, Linear& linear) { maps.emplace_back(path, &linear); });
  return maps;
}

// X Xᵀ of every linear map's inputs.
std::map<std::string, MatrixXd> grams_of(Backend& backend, Model& model, const Calibration& calibration) {
  std::map<std::string, MatrixXd> grams;
  run_inputs(backend, model, calibration, 4, [&](const std::string& path, Linear&, Tensor x) {
    const std::vector<double> values = test::values_of(backend, x);
    const RowMatrix seen = Eigen::Map<const RowMatrix>(values.data(), x.rows, x.cols);
    MatrixXd& gram = grams[path];
    if (gram.size() == 0) gram = MatrixXd::Zero(x.rows, x.rows);
    gram += seen * seen.transpose();
  });
  return grams;
}

// The model as it is when layer `layer` is pruned: those before it as in `pruned`, the rest as they were.
Model pruned_before(Backend& backend, Model& pruned, std::size_t layer) {
  Model model = tiny_model(backend);
  const auto from = maps_of(pruned), to = maps_of(model);
  for (std::size_t i = 0; i < 6 * layer; ++i) to[i].second->weight = from[i].second->weight;
  return model;
}

// Of inputs that hang together, some more than others, as activations do.
MatrixXd random_gram(std::int64_t n, std::int64_t tokens, std::uint64_t seed) {
  test::RandomSource random(seed);
  const std::vector<double> mix = random.normals(n * n, 0.2), x = random.normals(n * tokens);
  const MatrixXd mixing = MatrixXd::Identity(n, n) + Eigen::Map<const MatrixXd>(mix.data(), n, n);
  const MatrixXd inputs = mixing * Eigen::Map<const MatrixXd>(x.data(), n, tokens);
  return inputs * inputs.transpose();
}

RowMatrix random_weights(std::int64_t out, std::int64_t in, std::uint64_t seed) {
  const std::vector<double> w = test::RandomSource(seed).normals(out * in);
  return Eigen::Map<const RowMatrix>(w.data(), out, in);
}

// ---- Wanda ----------------------------------------------------------------------------------------------------------

TEST(Wanda, KeepsTheLargestProductsOfEachRowByInputsThroughThePrunedLayers) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(11);
  const Calibration calibration{examples, LabelKind::single_label};
  Model model = tiny_model(*backend);
  compress_now(*backend, model, {.method = "wanda", .calibration_batch = 4, .sparsity = 0.6}, calibration);
  const auto pruned = maps_of(model);
  for (std::size_t i = 0; i < pruned.size(); ++i) {
    Model before = pruned_before(*backend, model, i / 6);
    const auto [path, linear] = maps_of(before)[i];
    const MatrixXd gram = grams_of(*backend, before, calibration)[path];
    const RowMatrix w = dense(*backend, *linear->weight), got = dense(*backend, *pruned[i].second->weight);
    const Eigen::Index kept = (w.cols() * 4) / 10;
    for (Eigen::Index row = 0; row < w.rows(); ++row) {
      EXPECT_EQ((got.row(row).array() != 0).count(), kept) << path;
      double least_kept = 1e9, most_zeroed = 0;
      for (Eigen::Index j = 0; j < w.cols(); ++j) {
        const double product = std::abs(w(row, j)) * std::sqrt(gram(j, j));
        if (got(row, j) != 0) {
          EXPECT_NEAR(got(row, j), w(row, j), 1e-14);
          least_kept = std::min(least_kept, product);
        } else {
          most_zeroed = std::max(most_zeroed, product);
        }
      }
      EXPECT_LT(most_zeroed, least_kept) << path << " row " << row;
    }
  }
}

// ---- SparseGPT on one matrix ----------------------------------------------------------------------------------------

// The factor by its definition; it is not when the damping is another one.
TEST(SparseGpt, FactorGivesTheInverse) {
  for (const std::int64_t n : {1, 5, 64, 70, 150}) {  // around the panels of the inversion
    const MatrixXd gram = random_gram(n, 40 + 3 * n, 1);
    MatrixXd h = 2.0 / 31 * gram;
    h.diagonal().array() += 0.01 * h.diagonal().mean();
    const RowMatrix r = inverse_factor(gram, 31, 0.01);
    EXPECT_TRUE(r.isUpperTriangular(0.0));
    EXPECT_TRUE((r.transpose() * r * h).isIdentity(1e-7)) << n;
    EXPECT_FALSE((inverse_factor(gram, 31, 0.05).transpose() * r * h).isIdentity(1e-7)) << n;
  }
}

// Pruning column 0 alone: the others become the least squares solution in closed form.
TEST(SparseGpt, OneColumnIsTheClosedForm) {
  const std::int64_t n = 9, out = 4;
  const MatrixXd gram = random_gram(n, 30, 2);
  MatrixXd h = 2.0 / 30 * gram;
  h.diagonal().array() += 0.01 * h.diagonal().mean();
  for (const std::int64_t block : {1, 4, 128}) {
    RowMatrix w = random_weights(out, n, 3);
    const RowMatrix before = w;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(out * n), 1), dead(static_cast<std::size_t>(n));
    for (std::int64_t row = 0; row < out; ++row) mask[static_cast<std::size_t>(row * n)] = 0;
    prune_columns(w, mask.data(), inverse_factor(gram, 30, 0.01), dead, 0.0, {}, block);
    // min over w' with w'_0 = 0 of (w' - w)ᵀ H (w' - w):  w'_r = w_r + H_rr⁻¹ H_r0 w_0
    const MatrixXd rest = h.bottomRightCorner(n - 1, n - 1).ldlt().solve(h.bottomLeftCorner(n - 1, 1));
    for (std::int64_t row = 0; row < out; ++row) {
      EXPECT_EQ(w(row, 0), 0.0);
      for (std::int64_t j = 1; j < n; ++j)
        EXPECT_NEAR(w(row, j), before(row, j) + rest(j - 1, 0) * before(row, 0), 1e-9);
    }
  }
}

// Column after column, each row by itself, with the inverse of what is left of H (OBS).
TEST(SparseGpt, ManyColumnsAreOptimalBrainSurgeryOfEachRow) {
  const std::int64_t n = 13, out = 5;
  const MatrixXd gram = random_gram(n, 50, 4);
  MatrixXd h = 2.0 / 50 * gram;
  h.diagonal().array() += 0.01 * h.diagonal().mean();
  test::RandomSource random(5);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(out * n)), dead(static_cast<std::size_t>(n));
  for (auto& bit : mask) bit = random.chance(0.5);
  RowMatrix want = random_weights(out, n, 6);
  for (std::int64_t row = 0; row < out; ++row) {
    for (std::int64_t j = 0; j < n; ++j) {
      if (mask[static_cast<std::size_t>(row * n + j)]) continue;
      const MatrixXd inverse = h.bottomRightCorner(n - j, n - j).inverse();
      want.row(row).tail(n - j) -= want(row, j) / inverse(0, 0) * inverse.col(0).transpose();
    }
  }
  for (const std::int64_t block : {1, 5, 13, 100}) {
    RowMatrix got = random_weights(out, n, 6);
    std::vector<std::uint8_t> kept = mask;
    prune_columns(got, kept.data(), inverse_factor(gram, 50, 0.01), dead, 0.0, {}, block);
    EXPECT_EQ(kept, mask);
    EXPECT_TRUE(got.isApprox(want, 1e-9)) << block;
    EXPECT_FALSE(got.isApprox(random_weights(out, n, 6), 1e-3));
  }
}

double output_error(const RowMatrix& difference, const MatrixXd& gram) {
  return (difference * gram * difference.transpose()).trace();
}

TEST(SparseGpt, CountsAreExactAndTheOutputErrorIsBelowThatOfMagnitude) {
  const std::int64_t n = 32, out = 24;
  const MatrixXd gram = random_gram(n, 100, 8);
  const RowMatrix w = random_weights(out, n, 9), r = inverse_factor(gram, 100, 0.01);
  const std::vector<std::uint8_t> dead(static_cast<std::size_t>(n));
  const std::size_t size = static_cast<std::size_t>(out * n);
  for (const char* pattern : {"", "2:4", "4:8", "3:5"}) {
    for (const std::int64_t block : {7, 16, 128}) {
      const Pattern groups = parse_pattern(pattern);
      const double sparsity = groups.any() ? groups.sparsity() : 0.55;
      RowMatrix pruned = w;
      std::vector<std::uint8_t> mask(size, 1), by_magnitude(size, 1);
      prune_columns(pruned, mask.data(), r, dead, sparsity, groups, block);
      RowMatrix magnitude = w;
      const RowMatrix absolute = w.cwiseAbs();
      std::vector<float> keys(size);
      for (std::size_t i = 0; i < size; ++i) keys[i] = static_cast<float>(absolute.data()[i]);
      const Candidates all{keys.data(), by_magnitude.data(), out, n};
      select({&all, 1}, sparsity, {.pattern = groups}, Key::value);
      for (std::size_t i = 0; i < size; ++i) {
        if (!by_magnitude[i]) magnitude.data()[i] = 0;
        EXPECT_EQ(pruned.data()[i] != 0, mask[i] != 0);
      }
      EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), std::count(by_magnitude.begin(), by_magnitude.end(), 1));
      // One block is the whole matrix, chosen from as if its last columns could make good of everything.
      if (block < n) {
        EXPECT_LT(output_error(pruned - w, gram), 0.8 * output_error(magnitude - w, gram)) << pattern << " " << block;
      }
      for (std::int64_t row = 0; groups.any() && row < out; ++row) {
        for (std::int64_t j = 0; j + groups.of <= n; j += groups.of) {
          const auto* bits = &mask[static_cast<std::size_t>(row * n + j)];
          EXPECT_EQ(std::count(bits, bits + groups.of, 1), groups.kept) << pattern;
        }
      }
    }
  }
}

TEST(SparseGpt, DeadInputsGoFirstAndChangeNothing) {
  const std::int64_t n = 10, out = 6;
  MatrixXd gram = random_gram(n, 40, 10);
  std::vector<std::uint8_t> dead(static_cast<std::size_t>(n));
  for (const Eigen::Index j : {2, 7}) {
    gram.row(j).setZero();
    gram.col(j).setZero();
    dead[static_cast<std::size_t>(j)] = 1;
  }
  RowMatrix w = random_weights(out, n, 11);
  const RowMatrix before = w;
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(out * n), 1);
  prune_columns(w, mask.data(), inverse_factor(gram, 40, 0.01), dead, 0.2, {}, 128);
  EXPECT_TRUE(w.col(2).isZero(0.0) && w.col(7).isZero(0.0));
  for (const Eigen::Index j : {0, 1, 3, 4, 5, 6, 8, 9}) EXPECT_TRUE(w.col(j).isApprox(before.col(j), 1e-12));
  EXPECT_TRUE(inverse_factor(MatrixXd::Zero(4, 4), 9, 0.01).isIdentity(0.0));  // nothing comes in at all
  gram(0, 0) = -1000;
  EXPECT_THROW(inverse_factor(gram, 40, 0.01), Error);
}

// ---- on models ------------------------------------------------------------------------------------------------------

TEST(SparseGpt, ChangesOutputsOfALayerLessThanMagnitude) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(40);
  const Calibration calibration{examples, LabelKind::single_label};
  Model as_it_was = tiny_model(*backend), surgery = tiny_model(*backend), magnitude = tiny_model(*backend);
  const auto grams = grams_of(*backend, as_it_was, calibration);
  compress_now(*backend, surgery, {.method = "sparsegpt", .calibration_batch = 7, .sparsity = 0.5}, calibration);
  compress_now(*backend, magnitude, {.method = "magnitude", .sparsity = 0.5});
  for (std::size_t i = 0; i < 6; ++i) {  // layer 0: its inputs are those of the model as it was
    const auto [path, linear] = maps_of(as_it_was)[i];
    const RowMatrix w = dense(*backend, *linear->weight);
    const RowMatrix by_surgery = dense(*backend, *maps_of(surgery)[i].second->weight);
    const RowMatrix by_magnitude = dense(*backend, *maps_of(magnitude)[i].second->weight);
    EXPECT_EQ((by_surgery.array() == 0).count(), (by_magnitude.array() == 0).count());
    EXPECT_LT(output_error(by_surgery - w, grams.at(path)), output_error(by_magnitude - w, grams.at(path))) << path;
  }
}

TEST(ByInputs, WhatIsZeroStaysZeroInAnyForm) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(9);
  const Calibration calibration{examples, LabelKind::single_label};
  for (const char* method : {"wanda", "sparsegpt"}) {
    for (const char* kind : {"masked", "csr", "shared", "few_heads", "no_heads"}) {
      for (const double sparsity : {0.3, 0.8}) {
        Model model = tiny_model(*backend);
        test::represent(*backend, model, kind, 6);
        std::vector<RowMatrix> before;
        for (const auto& [path, linear] : maps_of(model)) before.push_back(dense(*backend, *linear->weight));
        compress_now(*backend, model, {.method = method, .calibration_batch = 4, .sparsity = sparsity}, calibration);
        const auto after = maps_of(model);
        for (std::size_t i = 0; i < after.size(); ++i) {
          const RowMatrix now = dense(*backend, *after[i].second->weight);
          if (now.size() == 0) continue;
          const std::string where = std::string(method) + " " + kind + " " + after[i].first;
          EXPECT_EQ(((before[i].array() == 0) && (now.array() != 0)).count(), 0) << where;
          const double zeros = static_cast<double>((now.array() == 0).count()) / static_cast<double>(now.size());
          EXPECT_GE(zeros, sparsity - 1e-9) << where;
          EXPECT_EQ(after[i].second->weight->nonzeros(*backend), (now.array() != 0).count()) << where;
        }
        EXPECT_EQ(after[0].second->weight == after[6].second->weight, std::string_view(kind) == "shared");
      }
    }
  }
}

TEST(ByInputs, PatternsAreCounted) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = tiny_examples(9);
  for (const char* method : {"wanda", "sparsegpt"}) {
    Model model = tiny_model(*backend);
    compress_now(*backend, model, {.method = method, .sparsity_is_stated = false, .pattern = "1:2"},
                 {examples, LabelKind::single_label});
    for (const auto& [path, linear] : maps_of(model)) {
      const RowMatrix w = dense(*backend, *linear->weight);
      EXPECT_EQ(linear->weight->kind(), "csr");
      for (Eigen::Index row = 0; row < w.rows(); ++row) {
        for (Eigen::Index j = 0; j + 2 <= w.cols(); j += 2)
          EXPECT_EQ((w(row, j) != 0) + (w(row, j + 1) != 0), 1) << path;
      }
    }
  }
}

TEST(ByInputs, NeedsTexts) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  EXPECT_THROW(compress_now(*backend, model, {.method = "wanda"}), Error);
  EXPECT_THROW(compress_now(*backend, model, {.method = "sparsegpt"}), Error);
  EXPECT_THROW(check({.method = "sparsegpt", .damp = 0.0}), Error);
  EXPECT_THROW(check({.method = "sparsegpt", .block_size = 0}), Error);
}

}  // namespace
}  // namespace bertx::compress
