// Layers dropped: which, and that the rest is the same as built by hand.
#include "structure/layers.h"

#include <cmath>
#include <csignal>

#include "bertx/signals.h"
#include "calibration/examples.h"
#include "structure_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

// Which of six layers stay; their key biases carry the numbers.
std::string kept(Recipe recipe, const Calibration& texts = {}, std::int64_t layers = 6) {
  const auto backend = make_reference_backend();
  Model model = classifier(*backend, layers);
  for (std::size_t l = 0; l < model.layers.size(); ++l) backend->fill(model.layers[l].key.bias->tensor(), double(l));
  recipe.method = "layers";
  compress_now(*backend, model, recipe, texts);
  std::string out;
  for (const EncoderLayer& layer : model.layers) {
    out += static_cast<char>('0' + static_cast<int>(layer.key.bias->tensor().as<double>()[0]));
  }
  EXPECT_EQ(model.config.layers.size(), model.layers.size());
  return out;
}

TEST(Layers, EachWayDropsWhatThePaperSays) {
  EXPECT_EQ(kept({}), "012");
  EXPECT_EQ(kept({.which = "top", .drop = 2}), "0123");
  EXPECT_EQ(kept({.which = "bottom", .drop = 2}), "2345");
  EXPECT_EQ(kept({.which = "alternate", .drop = 2}), "0124");
  EXPECT_EQ(kept({.which = "alternate"}), "024");
  EXPECT_EQ(kept({.which = "alternate", .drop = 3}, {}, 5), "13");
  EXPECT_EQ(kept({.which = "symmetric", .drop = 2}), "0145");
  EXPECT_EQ(kept({.which = "symmetric", .drop = 3}), "015");
  EXPECT_EQ(kept({.which = "symmetric", .drop = 5}), "0");
  EXPECT_EQ(kept({.keep_layers = "0,3,5"}), "035");
  EXPECT_EQ(kept({.keep_layers = "4"}), "4");
  EXPECT_EQ(kept({.which = "top", .drop = 11}, {}, 12), "0");
}

TEST(Layers, WhatMakesNoSenseIsRefused) {
  EXPECT_REFUSED(kept({.drop = 6}), "drop: found 6 with which top, expected at most 5 of 6 layers");
  EXPECT_REFUSED(kept({.which = "alternate", .drop = 4}), "drop: found 4 with which alternate, expected at most 3");
  for (const std::string list :
       {"0,0", "1,0", "6", "-1", "0,", ",", "a", "0;1", "0, 1", "1.5", "99999999999999999999"}) {
    EXPECT_REFUSED(kept({.keep_layers = list}), "keep_layers: found \"" + list + "\", expected numbers from 0 to 5");
  }
  EXPECT_REFUSED(kept({.drop = 2, .keep_layers = "0"}), "drop: found it beside keep_layers");
  EXPECT_REFUSED(kept({.cosine = 0.5, .keep_layers = "0"}), "cosine: found it beside keep_layers");
  EXPECT_REFUSED(kept({.cosine = 0.5}), "cosine: found 0.5 with which top, expected which contribution");
  EXPECT_REFUSED(kept({.which = "contribution", .drop = 2, .cosine = 0.5}), "drop: found it beside cosine");
  EXPECT_REFUSED(kept({.which = "contribution"}), "which: found contribution and no texts");
  EXPECT_REFUSED(kept({}, {}, 1), "layers: found a model of 1 layer");
  EXPECT_REFUSED(kept({.which = "middle"}), "which: found");
}

TEST(Layers, ContributionIsTheCosineOfWhatGoesInAndWhatComesOut) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(5);
  const Calibration texts{examples, LabelKind::single_label};
  const Model model = classifier(*backend, 4);
  const std::vector<double> found = layer_cosines(*backend, model, texts, 2);
  // Naively: token by token, one text at a time.
  std::vector<double> want(4);
  double tokens = 0;
  Arena arena(*backend);
  for_batches(model, texts, 1, [&](std::int64_t, const Batch& batch) {
    Exec exec{*backend, arena};
    std::vector<Tensor> hidden;
    model.encode(exec, batch, nullptr, &hidden);
    for (std::size_t l = 0; l < 4; ++l) {
      for (std::int64_t t = 0; t < batch.tokens(); ++t) {
        double dot = 0, in = 0, out = 0;
        for (std::int64_t i = 0; i < 12; ++i) {
          const double x = hidden[l].as<double>()[i * hidden[l].stride + t],
                       y = hidden[l + 1].as<double>()[i * hidden[l + 1].stride + t];
          dot += x * y, in += x * x, out += y * y;
        }
        want[l] += dot / std::sqrt(in * out);
      }
    }
    tokens += static_cast<double>(batch.tokens());
  });
  std::vector<double> sorted;
  for (std::size_t l = 0; l < 4; ++l) {
    EXPECT_NEAR(found[l], want[l] / tokens, 1e-12);
    sorted.push_back(found[l]);
  }
  std::ranges::sort(sorted);
  EXPECT_LT(sorted[0] + 0.01, sorted[3]) << "MISTRUSTED: all layers contribute the same";

  // The two most alike go, by number and by threshold.
  Model by_number = model, by_threshold = model, by_hand = model;
  keep_layers(*backend, by_hand,
              {found[0] <= sorted[1], found[1] <= sorted[1], found[2] <= sorted[1], found[3] <= sorted[1]});
  compress_now(*backend, by_number, {.method = "layers", .which = "contribution", .drop = 2}, texts);
  compress_now(*backend, by_threshold,
               {.method = "layers", .which = "contribution", .cosine = (sorted[1] + sorted[2]) / 2}, texts);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> logits = logits_of(*backend, by_hand, batch);
  EXPECT_EQ(by_hand.layers.size(), 2u);
  EXPECT_EQ(logits_of(*backend, by_number, batch), logits);
  EXPECT_EQ(logits_of(*backend, by_threshold, batch), logits);
  Model all = model;
  EXPECT_REFUSED(compress_now(*backend, all, {.method = "layers", .which = "contribution", .cosine = -1.0}, texts),
                 "cosine: found -1, expected at least");
}

// A model of the kept layers, put together by hand from a second copy.
TEST(Layers, WhatIsLeftIsTheModelOfTheseLayersInMemoryAndInFiles) {
  const auto backend = make_reference_backend();
  for (const std::string kind : {"dense", "masked", "csr", "low_rank", "sum"}) {
    Model model = classifier(*backend, 4);
    if (kind != "dense") test::represent(*backend, model, kind, 6);
    const Batch batch = test::tiny_batch(model, 5);
    Model by_hand = model;
    by_hand.layers = {model.layers[1], model.layers[3]};
    by_hand.config.layers.resize(2);
    const std::vector<double> want = logits_of(*backend, by_hand, batch);
    compress_now(*backend, model, {.method = "layers", .keep_layers = "1,3"});
    EXPECT_EQ(logits_of(*backend, model, batch), want) << kind;
    for (const ExportForm form : {ExportForm::native, ExportForm::dense}) {
      test::TemporaryDirectory directory;
      save_model(*backend, model, directory.path(), form);
      const Model read = load_model(*backend, directory.path());
      EXPECT_EQ(read.config.layers.size(), 2u);
      const std::vector<double> got = logits_of(*backend, read, batch);
      for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5) << kind;
    }
  }
}

TEST(Layers, LayersOfOtherShapesAndSharedOnesStayWhatTheyAre) {
  const auto backend = make_reference_backend();
  Model model = classifier(*backend, 4);
  keep_heads(*backend, model, {{true, true, true}, {false, false, false}, {true, true, true}, {true, false, true}});
  model.layers[3].ffn_in = model.layers[1].ffn_in;  // shared by two that stay
  model.layers[2].ffn_out = model.layers[1].ffn_out;
  compress_now(*backend, model, {.method = "layers", .keep_layers = "1,3"});
  EXPECT_EQ(sizes(model, &LayerShape::heads), (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(model.config.layers[1].heads, 2);
  EXPECT_EQ(model.layers[0].ffn_in.weight, model.layers[1].ffn_in.weight);
  test::TemporaryDirectory directory;
  save_model(*backend, model, directory.path(), ExportForm::native);
  const Model read = load_model(*backend, directory.path());
  EXPECT_EQ(read.layers[0].ffn_in.weight, read.layers[1].ffn_in.weight);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> want = logits_of(*backend, model, batch), got = logits_of(*backend, read, batch);
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
}

// A training that is stopped before its first update has compressed the model already.
TEST(Layers, AreDroppedOnceByATrainingThatGoesOnFromItsBeginning) {
  const auto backend = make_backend("cpu");
  const std::vector<EncodedExample> examples = labelled_texts(12);
  const test::TemporaryDirectory directory;
  TrainOptions options;
  options.output_dir = directory.path();
  options.max_steps = 3;
  options.save_final_model = false;
  TrainData data;
  data.train = examples;
  const Recipe recipe{.method = "layers", .drop = 2};
  Model model = classifier(*backend, 6);
  request_stop(SIGTERM);
  EXPECT_EQ(train(*backend, model, nullptr, data, options, make_compressor(recipe).get()).signal, SIGTERM);
  clear_pending_signal();
  options.resume_from_checkpoint = "true";
  Model resumed = classifier(*backend, 6);
  const TrainResult result = train(*backend, resumed, nullptr, data, options, make_compressor(recipe).get());
  EXPECT_EQ(result.state.step, 3);
  EXPECT_EQ(resumed.layers.size(), 4u);
}

}  // namespace
}  // namespace bertx::compress
