// Tucker over stacked weights: full sizes are the model as it was, alternating never gets worse, and what it costs.
#include <gtest/gtest.h>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/safetensors.h"
#include "bertx/tucker_weight.h"
#include "support.h"

namespace bertx::compress {
namespace {

using test::logits_of;

constexpr std::int64_t kHidden = 12, kSlices = 16;  // of two layers: q, k, v, o and two for each feed-forward matrix

Model stackable_model(Backend& backend) {
  Config config = make_config(2, kHidden, 3, 2 * kHidden, 23, 16);
  config.head = HeadKind::sequence_classification;
  config.labels = {"a", "b", "c"};
  config.initializer_range = 0.5f;
  Model model = make_model(backend, config, 3);
  test::randomise_vectors(backend, model, 4);
  return model;
}

Recipe tucker(std::int64_t rank, std::int64_t cores, std::int64_t alternations = 2) {
  Recipe recipe{.method = "tucker"};
  recipe.tucker_rank = rank, recipe.tucker_cores = cores, recipe.alternations = alternations;
  return recipe;
}

std::vector<double> numbers(Backend& backend, Model& model) {
  std::vector<double> all;
  model.visit_linears([&](const std::string&, Linear& linear) {
    const Storage dense = make_storage(backend, linear.weight->out(), linear.weight->in(), backend.real());
    linear.weight->materialize(backend, dense.tensor);
    const std::vector<double> values = test::values_of(backend, dense.tensor);
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

double squared_error(Backend& backend, const Recipe& recipe) {
  Model before = stackable_model(backend), after = stackable_model(backend);
  compress_now(backend, after, recipe);
  const std::vector<double> a = numbers(backend, before), b = numbers(backend, after);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST(Tucker, FullSizesAreTheModelAsItWas) {
  const auto backend = make_reference_backend();
  Model model = stackable_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  compress_now(*backend, model, tucker(kHidden, kSlices));
  model.visit_linears([](const std::string& path, Linear& l) { EXPECT_EQ(l.weight->kind(), "tucker") << path; });
  EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), 1e-11);
  compress_now(*backend, model, tucker(kHidden, kSlices));  // of what is one already
  EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), 1e-11);
}

TEST(Tucker, TheErrorFallsWithEverySizeAndNeverRisesByAlternating) {
  const auto backend = make_reference_backend();
  double last = 1e9;
  for (const auto& [rank, cores] : {std::pair{2, 4}, {6, 4}, {6, 12}, {9, 12}, {12, 12}, {12, 16}}) {
    const double error = squared_error(*backend, tucker(rank, cores));
    EXPECT_LT(error, last) << rank << " " << cores;
    last = error;
  }
  EXPECT_LT(last, 1e-20);
  std::vector<double> errors;
  for (const std::int64_t turns : {0, 1, 2, 5}) errors.push_back(squared_error(*backend, tucker(6, 4, turns)));
  for (std::size_t n = 1; n < errors.size(); ++n) EXPECT_LE(errors[n], errors[n - 1] * (1 + 1e-12));
  EXPECT_LT(errors.back(), 0.999 * errors.front()) << "alternating changed nothing";
}

TEST(Tucker, ParametersAndMultipliesAreThoseOfTheFactors) {
  const auto backend = make_reference_backend();
  const std::int64_t r = 3, cores = 4, d = kHidden;
  Model whole = stackable_model(*backend), model = stackable_model(*backend);
  compress_now(*backend, model, tucker(r, cores));
  const std::int64_t dense = kSlices * d * d, factors = 2 * d * r + cores * r * r + kSlices * cores;
  EXPECT_EQ(model.parameter_count(), whole.parameter_count() - dense + factors);
  // Folded at inference: U (C V) of square matrices, (U C) V of two slices one above the other, and the reverse.
  EXPECT_EQ(model.layers[0].query.weight->multiplies(), 2 * d * r);
  EXPECT_EQ(model.layers[0].ffn_in.weight->multiplies(), d * r + 2 * d * r);
  EXPECT_EQ(model.layers[0].ffn_out.weight->multiplies(), 2 * d * r + d * r);
  compress_now(*backend, model, tucker(d, cores));  // never more than whole matrices have
  EXPECT_EQ(model.layers[0].ffn_in.weight->multiplies(), 2 * d * d);

  test::TemporaryDirectory directory;
  save_model(*backend, model, directory.path(), ExportForm::native);
  const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors");
  const TensorEntry* stored = file.find("bert.encoder.layer.0.attention.self.query.weight.cores");
  ASSERT_NE(stored, nullptr);
  EXPECT_EQ(stored->shape, (std::vector<std::int64_t>{cores, d, d}));
  EXPECT_EQ(file.find("bert.encoder.layer.1.output.dense.weight.cores"), nullptr);
  EXPECT_EQ(file.metadata().at("alias.bert.encoder.layer.1.output.dense.weight.left"),
            "bert.encoder.layer.0.attention.self.query.weight.left");
}

TEST(Tucker, FoldedForInferenceItSaysTheSame) {
  for (const std::string name : {"reference", "cpu"}) {
    const auto backend = make_backend(name);
    for (const auto& [rank, cores] : {std::pair{3, 4}, {9, 8}, {12, 4}}) {
      Model model = stackable_model(*backend);
      compress_now(*backend, model, tucker(rank, cores));
      const Batch batch = test::tiny_batch(model, 5);
      const std::vector<double> before = logits_of(*backend, model, batch);
      model.prepare(*backend);
      EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), name == "cpu" ? 1e-4 : 1e-11);
      model.refresh(*backend);
      EXPECT_EQ(logits_of(*backend, model, batch), before);
    }
  }
}

TEST(Tucker, WhatCannotBeStackedIsRefused) {
  const auto backend = make_reference_backend();
  const auto message = [&](Model& model, const Recipe& recipe) -> std::string {
    try {
      compress_now(*backend, model, recipe);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "no error";
  };
  Model model = stackable_model(*backend);
  EXPECT_NE(message(model, tucker(13, 4)).find("tucker_rank: found 13, expected at most 12"), std::string::npos);
  EXPECT_NE(message(model, tucker(4, 17)).find("tucker_cores: found 17, expected at most 16"), std::string::npos);
  EXPECT_NE(message(model, tucker(0, 4)).find("tucker_rank: found 0"), std::string::npos);
  keep_heads(*backend, model, {{true, true, true}, {true, false, true}});
  const std::string text = message(model, tucker(4, 4));
  EXPECT_NE(text.find("layer.1.attention.self.query: found a matrix [8, 12]"), std::string::npos) << text;
}

}  // namespace
}  // namespace bertx::compress
