// Heads and neurons cut out of weights of every kind: the logits are those of gated models.
#include "structure/cut.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"

namespace bertx::compress {
namespace {

using test::logits_of;
using Keep = std::vector<std::vector<bool>>;

Model tiny_model(Backend& backend, const std::string& kind) {
  Model model = make_model(backend, test::tiny_config(test::tiny_heads().front()), 3);
  test::randomise_vectors(backend, model, 4);
  if (kind != "dense") test::represent(backend, model, kind, 6);
  return model;
}

// The layers' matrices as plain dense ones, with columns of zeros where a head or neuron is not kept: what a gate of 0
// does, by another way than cutting.
void gate(Backend& backend, Model& model, const Keep& keep, Linear EncoderLayer::*linear, std::int64_t block) {
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    Linear& out = model.layers[l].*linear;
    auto w = std::make_shared<Parameter>();
    w->value = make_storage(backend, out.weight->out(), out.weight->in(), backend.real());
    out.weight->materialize(backend, w->tensor());
    for (std::size_t n = 0; n < keep[l].size(); ++n) {
      const auto first = static_cast<std::int64_t>(n) * block;
      if (!keep[l][n]) backend.fill(w->tensor().col_range(first, block), 0.0);
    }
    out.weight = std::make_shared<DenseWeight>(w);
  }
  model.refresh(backend);
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_TRUE(test::trusted(want));
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << i;
}

const Keep some_heads{{true, false, true}, {false, false, false}};
const Keep some_neurons{{true, false, true, true, false, false, true, false, true, true},
                        {false, false, false, false, false, false, false, false, false, false}};

class CutKind : public testing::TestWithParam<std::string> {};

TEST_P(CutKind, LogitsOfCutModelsAreThoseOfGatedOnes) {
  const auto backend = make_reference_backend();
  Model cut = tiny_model(*backend, GetParam()), gated = tiny_model(*backend, GetParam());
  const Batch batch = test::tiny_batch(cut, 5);
  keep_heads(*backend, cut, some_heads);
  keep_neurons(*backend, cut, some_neurons);
  gate(*backend, gated, some_heads, &EncoderLayer::attention_output, 4);
  gate(*backend, gated, some_neurons, &EncoderLayer::ffn_out, 1);
  expect_near(logits_of(*backend, cut, batch), logits_of(*backend, gated, batch), 1e-12);

  for (std::size_t l = 0; l < 2; ++l) {
    const EncoderLayer& layer = cut.layers[l];
    EXPECT_EQ(layer.shape, cut.config.layers[l]);
    EXPECT_EQ(layer.shape.heads, std::ranges::count(some_heads[l], true));
    EXPECT_EQ(layer.shape.ffn, std::ranges::count(some_neurons[l], true));
    EXPECT_EQ(layer.value.weight->out(), 4 * layer.shape.heads);
    EXPECT_EQ(layer.attention_output.weight->in(), 4 * layer.shape.heads);
    EXPECT_EQ(layer.ffn_in.weight->out(), layer.shape.ffn);
    EXPECT_EQ(layer.ffn_in.bias->tensor().rows, layer.shape.ffn);
    EXPECT_EQ(layer.ffn_out.weight->in(), layer.shape.ffn);
    EXPECT_EQ(layer.query.weight->kind(), gated.layers[l].query.weight->kind());  // its kind is kept
  }

  // Cutting again, and as others load it.
  keep_heads(*backend, cut, {{false, true}, {}});
  const Keep first_head_too{{false, false, true}, {false, false, false}};
  gate(*backend, gated, first_head_too, &EncoderLayer::attention_output, 4);
  const std::vector<double> want = logits_of(*backend, gated, batch);
  expect_near(logits_of(*backend, cut, batch), want, 1e-12);
  for (const ExportForm form : {ExportForm::native, ExportForm::dense}) {
    test::TemporaryDirectory directory;
    save_model(*backend, cut, directory.path(), form);
    expect_near(logits_of(*backend, load_model(*backend, directory.path()), batch), want, 1e-5);  // rounded to F32
  }
}

TEST_P(CutKind, AModelThatWasPackedIsCutToo) {
  const auto backend = make_cpu_backend();
  Model packed = tiny_model(*backend, GetParam()), plain = tiny_model(*backend, GetParam());
  const Batch batch = test::tiny_batch(packed, 5);
  packed.prepare(*backend);
  for (Model* model : {&packed, &plain}) {
    keep_heads(*backend, *model, some_heads);
    keep_neurons(*backend, *model, some_neurons);
  }
  EXPECT_EQ(logits_of(*backend, packed, batch), logits_of(*backend, plain, batch));
}

INSTANTIATE_TEST_SUITE_P(Kinds, CutKind, testing::Values("dense", "masked", "csr", "low_rank", "low_rank_csr", "sum"),
                         [](const auto& test) { return test.param; });

TEST(Cut, StoredZerosMasksScoresAndFlagsAreCutWithTheirValues) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend, "csr");
  auto* csr = static_cast<CsrWeight*>(model.layers[0].ffn_in.weight.get());
  backend->fill(csr->values().tensor(), 0.0);
  csr->values().learning_rate_factor = 3;
  csr->values().decay = false;
  const auto rows = [&] {
    const Tensor starts = static_cast<CsrWeight&>(*model.layers[0].ffn_in.weight).pattern().row_start;
    return std::vector<std::int32_t>(starts.as<std::int32_t>(), starts.as<std::int32_t>() + starts.cols);
  };
  const std::vector<std::int32_t> before = rows();
  keep_neurons(*backend, model, some_neurons);
  const std::vector<std::int32_t> after = rows();
  EXPECT_EQ(after[1], before[1]);
  EXPECT_EQ(after[2] - after[1], before[3] - before[2]);
  csr = static_cast<CsrWeight*>(model.layers[0].ffn_in.weight.get());
  EXPECT_EQ(csr->values().learning_rate_factor, 3);
  EXPECT_FALSE(csr->values().decay);

  Model masked = tiny_model(*backend, "masked");
  auto* whole = static_cast<MaskedWeight*>(masked.layers[0].ffn_out.weight.get());
  for (int i = 0; i < 120; ++i) whole->scores()->tensor().as<double>()[i] = i;
  const std::vector<std::uint8_t> bits(whole->mask().tensor.as<std::uint8_t>(),
                                       whole->mask().tensor.as<std::uint8_t>() + 120);
  keep_neurons(*backend, masked, some_neurons);
  auto* part = static_cast<MaskedWeight*>(masked.layers[0].ffn_out.weight.get());
  const int kept[] = {0, 2, 3, 6, 8, 9};
  for (int row = 0; row < 12; ++row) {
    for (int n = 0; n < 6; ++n) {
      EXPECT_EQ(part->scores()->tensor().as<double>()[row * 6 + n], row * 10 + kept[n]);
      EXPECT_EQ(part->mask().tensor.as<std::uint8_t>()[row * 6 + n],
                bits[static_cast<std::size_t>(row * 10 + kept[n])]);
    }
  }
}

// Layer 1 uses the query and the first feed-forward matrix of layer 0.
TEST(Cut, WhatLayersShareIsCutOnceAndStaysShared) {
  const auto backend = make_reference_backend();
  Model cut = tiny_model(*backend, "shared"), gated = tiny_model(*backend, "shared");
  const Batch batch = test::tiny_batch(cut, 5);
  const Keep heads{{true, false, true}, {true, false, true}}, neurons{some_neurons[0], some_neurons[0]};
  keep_heads(*backend, cut, heads);
  keep_neurons(*backend, cut, neurons);
  gate(*backend, gated, heads, &EncoderLayer::attention_output, 4);
  gate(*backend, gated, neurons, &EncoderLayer::ffn_out, 1);
  expect_near(logits_of(*backend, cut, batch), logits_of(*backend, gated, batch), 1e-12);
  EXPECT_EQ(cut.layers[0].query.weight, cut.layers[1].query.weight);
  EXPECT_EQ(cut.layers[1].query.weight, cut.layers[1].key.weight);
  EXPECT_EQ(cut.layers[0].ffn_in.weight, cut.layers[1].ffn_in.weight);
  EXPECT_EQ(cut.layers[0].ffn_in.bias, cut.layers[1].ffn_in.bias);
  EXPECT_NE(cut.layers[0].ffn_out.weight, cut.layers[1].ffn_out.weight);
}

TEST(Cut, LayersThatShareAWeightAndKeepOtherPartsAreRefusedAndNothingIsCut) {
  const auto backend = make_reference_backend();
  const std::vector<bool> all(10, true);
  for (const Keep& neurons : {some_neurons, Keep{some_neurons[0], all}, Keep{all, some_neurons[0]}}) {
    Model model = tiny_model(*backend, "shared");
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> before = logits_of(*backend, model, batch);
    try {
      keep_neurons(*backend, model, neurons);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(error.what()).find("layer 1, feed-forward in: found a weight that is shared"),
                std::string::npos)
          << error.what();
    }
    EXPECT_EQ(logits_of(*backend, model, batch), before);
    EXPECT_EQ(model.config.layers[0].ffn, 10);
  }
  Model model = tiny_model(*backend, "dense");
  EXPECT_THROW(keep_heads(*backend, model, {{true, true, true}}), Error);
  EXPECT_THROW(keep_heads(*backend, model, {{true, true, true}, {true}}), Error);
}

}  // namespace
}  // namespace bertx::compress
