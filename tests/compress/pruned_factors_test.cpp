// Zeros inside of factors and of the terms of sums: pruning after factorization.
#include "pruning/masks.h"
#include "training_fixture.h"
#include "weights/parts.h"

namespace bertx::compress {
namespace {

std::set<std::string> kinds_of_leaves(Model& model) {
  std::set<std::string> kinds;
  model.visit_linears([&](const std::string&, Linear& linear) {
    visit_parts(*linear.weight, [&](LinearWeight& part, std::size_t) {
      if (parts_of(part).empty()) kinds.insert(std::string(part.kind()));
    });
  });
  return kinds;
}

class PrunedFactors : public testing::TestWithParam<std::string> {};

TEST_P(PrunedFactors, LoseTheirSmallestWeightsAndBecomeSparse) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  test::represent(*backend, model, GetParam(), 5);
  std::int64_t elements = 0, kept = 0;
  mask_weights(*backend, model, false);
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    const std::int64_t size = matrix.weight->out() * matrix.weight->in();
    elements += size;
    kept += kept_of(size, 0.75);
  }
  ASSERT_GT(elements, 0);
  compress_now(*backend, model, {.method = "magnitude", .sparsity = 0.75});
  EXPECT_EQ(kinds_of_leaves(model), std::set<std::string>{"csr"});
  std::int64_t nonzeros = 0;
  std::set<const LinearWeight*> seen;
  model.visit_linears([&](const std::string&, Linear& linear) {
    visit_parts(*linear.weight, [&](LinearWeight& part, std::size_t) {
      if (parts_of(part).empty() && seen.insert(&part).second) nonzeros += part.nonzeros(*backend);
    });
  });
  EXPECT_EQ(nonzeros, kept);
}

TEST_P(PrunedFactors, MaskedAndMaterialisedLogitsAreTheSame) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  test::represent(*backend, model, GetParam(), 5);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = test::logits_of(*backend, model, batch);
  mask_weights(*backend, model, false);
  model.refresh(*backend);
  EXPECT_EQ(test::logits_of(*backend, model, batch), before);
  rank_masks(*backend, model, 0.6, {}, Key::magnitude);
  const std::vector<double> masked = test::logits_of(*backend, model, batch);
  EXPECT_NE(masked, before);
  finalize_masks(*backend, model);
  model.refresh(*backend);
  const std::vector<double> real = test::logits_of(*backend, model, batch);
  for (std::size_t i = 0; i < real.size(); ++i) EXPECT_NEAR(real[i], masked[i], 1e-12);
}

TEST_P(PrunedFactors, TrainGraduallyWithScores) {
  const std::vector<EncodedExample> examples = tiny_examples(30);
  const auto backend = make_backend("cpu");
  for (const char* method : {"magnitude", "movement"}) {
    Model model = tiny_model(*backend);
    test::represent(*backend, model, GetParam(), 5);
    TrainOptions options;
    options.max_steps = 10;
    options.logging_steps = 1;
    options.save_final_model = false;
    TrainData data;
    data.train = examples;
    const auto hook = make_compressor({.method = method, .sparsity = 0.8}, {examples, LabelKind::single_label});
    const TrainResult result = train(*backend, model, nullptr, data, options, hook.get());
    EXPECT_EQ(kinds_of_leaves(model), std::set<std::string>{"csr"}) << method;
    EXPECT_GT(result.train_loss, 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, PrunedFactors, testing::Values("low_rank", "low_rank_csr", "sum"),
                         [](const auto& test) { return test.param; });

TEST(PrunedFactors, WhatCannotBeMaskedLeavesTheModelAsItWas) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  test::represent(*backend, model, "low_rank", 5);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = test::logits_of(*backend, model, batch);
  const std::vector<EncodedExample> examples = tiny_examples(8);
  const std::string message = usage_message([&] {
    compress_now(*backend, model, {.method = "wanda", .sparsity = 0.5}, {examples, LabelKind::single_label});
  });
  EXPECT_NE(message.find("low_rank"), std::string::npos) << message;
  EXPECT_EQ(test::logits_of(*backend, model, batch), before);
}

}  // namespace
}  // namespace bertx::compress
