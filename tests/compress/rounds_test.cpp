// Heads and neurons removed in rounds: how many, which, and where it ends.
#include "structure/rounds.h"

#include <cmath>
#include <numeric>

#include "calibration/metric.h"
#include "structure_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

std::int64_t total(const Model& model, std::int64_t LayerShape::*size) { return count_parts(model, size); }

TEST(Rounds, AsManyAreLeftAsAskedForWithEveryImportance) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(6);
  for (const std::string importance : {"auto", "example", "token", "batch", "magnitude", "random"}) {
    Model model = classifier(*backend);
    compress_now(*backend, model, {.method = "heads", .sparsity = 0.5, .importance = importance},
                 {examples, LabelKind::single_label});
    EXPECT_EQ(total(model, &LayerShape::heads), 3) << importance;
    EXPECT_EQ(total(model, &LayerShape::ffn), 20);
  }
  for (const std::string importance : {"auto", "taylor", "magnitude", "random"}) {
    Model model = classifier(*backend);
    compress_now(*backend, model, {.method = "neurons", .sparsity = 0.35, .importance = importance},
                 {examples, LabelKind::single_label});
    EXPECT_EQ(total(model, &LayerShape::ffn), 13) << importance;
    EXPECT_EQ(total(model, &LayerShape::heads), 6);
    EXPECT_EQ(model.layers[0].ffn_in.weight->out(), model.config.layers[0].ffn);
  }
}

TEST(Rounds, ALayerMayLoseAllItsNeurons) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(4);
  Model model = classifier(*backend);
  compress_now(*backend, model, {.method = "neurons", .sparsity = 0.99}, {examples, LabelKind::single_label});
  EXPECT_EQ(total(model, &LayerShape::ffn), 0);
  EXPECT_EQ(model.layers[1].ffn_out.weight->in(), 0);
  const Batch batch = test::tiny_batch(model, 5);
  EXPECT_TRUE(test::trusted(logits_of(*backend, model, batch)));
}

// In one round those go that score least: computed here from the importance itself.
TEST(Rounds, TheLeastImportantGo) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(6);
  const Calibration texts{examples, LabelKind::single_label};
  Model whole = classifier(*backend), cut = classifier(*backend), by_hand = classifier(*backend);
  const Scores scores = neuron_importance(*backend, whole, texts);
  std::vector<double> all;
  for (const auto& layer : scores) all.insert(all.end(), layer.begin(), layer.end());
  std::ranges::sort(all);
  KeptParts keep;
  for (const auto& layer : scores) {
    keep.emplace_back();
    for (const double score : layer) keep.back().push_back(score >= all[8]);
  }
  keep_neurons(*backend, by_hand, keep);
  compress_now(*backend, cut, {.method = "neurons", .sparsity = 0.4, .neurons_per_round = 1.0}, texts);
  const Batch batch = test::tiny_batch(cut, 5);
  EXPECT_EQ(logits_of(*backend, cut, batch), logits_of(*backend, by_hand, batch));

  // The length of all that a head has; in each layer relative to the layer's.
  Model heads = classifier(*backend);
  for (const double factor : {0.01}) {
    for (Linear* map : {&heads.layers[1].query, &heads.layers[1].key, &heads.layers[1].value}) {
      Tensor w = static_cast<DenseWeight&>(*map->weight).parameter()->tensor().row_range(4, 4);
      for (int i = 0; i < 48; ++i) w.as<double>()[i] *= factor;
    }
    Tensor w = static_cast<DenseWeight&>(*heads.layers[1].attention_output.weight).parameter()->tensor();
    for (int i = 0; i < 144; ++i) w.as<double>()[i] *= i % 12 / 4 == 1 ? factor : 1.0;
  }
  Model without = heads;
  keep_heads(*backend, without, {{true, true, true}, {true, false, true}});
  compress_now(*backend, heads, {.method = "heads", .sparsity = 0.16, .importance = "magnitude"}, texts);
  EXPECT_EQ(logits_of(*backend, heads, batch), logits_of(*backend, without, batch));
}

TEST(Rounds, TheSeedDecidesWhatRandomRemoves) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(4);
  const auto cut = [&](std::uint64_t seed) {
    Model model = classifier(*backend);
    compress_now(*backend, model, {.method = "neurons", .seed = seed, .sparsity = 0.5, .importance = "random"},
                 {examples, LabelKind::single_label});
    return logits_of(*backend, model, test::tiny_batch(model, 5));
  };
  EXPECT_EQ(cut(1), cut(1));
  EXPECT_NE(cut(1), cut(2));
}

TEST(Rounds, TheyEndBeforeTheMetricFallsBelowItsFloor) {
  const auto backend = make_reference_backend();
  std::vector<EncodedExample> examples = labelled_texts(24);
  const Calibration texts{examples, LabelKind::single_label};
  Model model = classifier(*backend);
  // Labels are what the whole model says, so that its accuracy is 1 and cutting costs.
  for (EncodedExample& example : examples) {
    const Calibration one{std::span(&example, 1), LabelKind::single_label};
    for (example.label = 0; measure_metric(*backend, model, one, 1, "accuracy") < 1;) ++example.label;
  }
  for (const auto& [method, size] : {std::pair{"heads", &LayerShape::heads}, {"neurons", &LayerShape::ffn}}) {
    std::int64_t left_before = 0;
    for (const double floor : {0.0, 0.7, 0.95, 1.0}) {
      Model cut = classifier(*backend);
      Recipe recipe{.method = method, .sparsity_is_stated = false, .heads_per_round = 0.01, .neurons_per_round = 0.01};
      recipe.metric_floor = floor;
      compress_now(*backend, cut, recipe, texts);
      EXPECT_GE(measure_metric(*backend, cut, texts, 8, "accuracy"), floor) << method;
      EXPECT_GE(total(cut, size), left_before) << method << floor;  // a higher floor leaves more
      left_before = total(cut, size);
      if (floor == 0.0) {
        EXPECT_EQ(left_before, 0);
        continue;
      }
      // One more of them would have been too many: the very next cut by hand.
      Model further = cut;
      recipe.metric_floor.reset();
      recipe.sparsity_is_stated = true;
      const double full = size == &LayerShape::heads ? 6 : 20;
      recipe.sparsity = 1.0 - static_cast<double>(left_before - 1) / full;
      if (recipe.sparsity < 1) {
        compress_now(*backend, further, recipe, texts);
        EXPECT_EQ(total(further, size), left_before - 1);
        EXPECT_LT(measure_metric(*backend, further, texts, 8, "accuracy"), floor);
      }
    }
    EXPECT_GT(left_before, 0);
  }
}

TEST(Rounds, WhatCannotBeHeldOrMeasuredIsRefused) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(12);
  const Calibration texts{examples, LabelKind::single_label};
  Model model = classifier(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  Recipe recipe{.method = "heads"};
  recipe.metric_floor = 1.0;
  EXPECT_REFUSED(compress_now(*backend, model, recipe, texts), "metric_floor: found 1, expected at most 0.");
  recipe.metric_floor = 0.1;
  EXPECT_REFUSED(compress_now(*backend, model, recipe, {examples, LabelKind::single_label, "mse"}),
                 "metric_floor: found mse");
  EXPECT_REFUSED(compress_now(*backend, model, {.method = "heads", .importance = "taylor"}, texts),
                 "importance: found \"taylor\" with method heads, expected one of auto, example, token, batch");
  EXPECT_REFUSED(compress_now(*backend, model, {.method = "neurons", .importance = "token"}, texts),
                 "expected one of auto, taylor, magnitude, random");
  EXPECT_EQ(logits_of(*backend, model, batch), before);
}

// A later round asks for what layers cannot do that share a matrix: the model is as it was.
TEST(Rounds, AModelIsCutAsAWholeOrNotAtAll) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(6);
  for (const std::string method : {"heads", "neurons"}) {
    Model model = classifier(*backend, 2, "shared");
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> before = logits_of(*backend, model, batch);
    EXPECT_REFUSED(compress_now(*backend, model, {.method = method, .sparsity = 0.5, .importance = "random"},
                                {examples, LabelKind::single_label}),
                   "found a weight that is shared");
    EXPECT_EQ(logits_of(*backend, model, batch), before);
    EXPECT_EQ(model.config.layers[0], model.layers[0].shape);
  }
}

class RoundKind : public testing::TestWithParam<std::string> {};

TEST_P(RoundKind, CompressedModelsAreCutToo) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(4);
  Model model = classifier(*backend, 2, GetParam());
  const std::int64_t heads = std::min<std::int64_t>(3, total(model, &LayerShape::heads)),
                     neurons = std::min<std::int64_t>(10, total(model, &LayerShape::ffn));
  for (const std::string importance : {"auto", "magnitude"}) {
    compress_now(*backend, model, {.method = "heads", .sparsity = 0.5, .importance = importance},
                 {examples, LabelKind::single_label});
    compress_now(*backend, model, {.method = "neurons", .sparsity = 0.5, .importance = importance},
                 {examples, LabelKind::single_label});
    EXPECT_EQ(total(model, &LayerShape::heads), heads);
    EXPECT_EQ(total(model, &LayerShape::ffn), neurons);
  }
  EXPECT_TRUE(test::trusted(logits_of(*backend, model, test::tiny_batch(model, 5))));
}
INSTANTIATE_TEST_SUITE_P(Kinds, RoundKind,
                         testing::Values("masked", "csr", "low_rank", "low_rank_csr", "sum", "no_heads", "few_heads",
                                         "few_neurons"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace bertx::compress
