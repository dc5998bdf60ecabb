// Central differences through whole models in double: every head, every kind of weight, dropout on; and proof that the
// check can fail.
#include <gtest/gtest.h>

#include "bertx/model.h"
#include "support.h"
#include "tiny.h"

namespace bertx {
namespace {

using test::RandomSource;

// Loss of one batch, with the same dropout each time; with gradients when `model` has them.
double loss_of(Backend& backend, Model& model, const Batch& batch, bool backward) {
  Arena arena(backend);
  Exec exec{backend, arena, true, 7};
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, backward ? &saved : nullptr);
  const Tensor dlogits = backward ? exec.take(logits.rows, logits.cols) : Tensor{};
  const double loss = model.loss(exec, batch, logits, 1.0, dlogits);
  if (backward) model.backward(exec, batch, saved, dlogits);
  return loss;
}

// Every parameter's gradient against central differences; the first disagreement, or success.
testing::AssertionResult gradients_agree(Backend& backend, Model& model, const Batch& batch, double planted = 0.0) {
  model.zero_gradients(backend);
  model.refresh(backend);
  loss_of(backend, model, batch, true);
  testing::AssertionResult verdict = testing::AssertionSuccess();
  model.visit([&](const std::string& path, Parameter& p) {
    if (!verdict || p.tensor().size() == 0) return;
    // The scores' gradient is straight-through: what a weight would bring if its mask were 1, no derivative of the
    // loss.
    if (path.ends_with(".scores")) return;
    if (planted != 0.0) p.gradient().as<double>()[0] += planted;
    const auto function = [&] {
      model.refresh(backend);
      return loss_of(backend, model, batch, false);
    };
    const test::GradientCheck check{.step = 1e-5, .accepted = 2e-7, .least_nonzero = 0.0, .most_elements = 12};
    if (auto result = test::gradient_agrees(function, p.tensor(), p.gradient(), check); !result) {
      verdict = testing::AssertionFailure() << path << ": " << result.message();
    }
    model.refresh(backend);
  });
  return verdict;
}

class HeadGradient : public testing::TestWithParam<test::TinyHead> {};

TEST_P(HeadGradient, AgreesWithCentralDifferences) {
  const auto backend = make_reference_backend();
  Model model = make_model(*backend, test::tiny_config(GetParam()), 3);
  test::randomise_vectors(*backend, model, 4);
  EXPECT_TRUE(gradients_agree(*backend, model, test::tiny_batch(model, 5)));
}

TEST_P(HeadGradient, NoticesAPlantedError) {
  const auto backend = make_reference_backend();
  Model model = make_model(*backend, test::tiny_config(GetParam()), 3);
  test::randomise_vectors(*backend, model, 4);
  EXPECT_FALSE(gradients_agree(*backend, model, test::tiny_batch(model, 5), 1e-3));
}

INSTANTIATE_TEST_SUITE_P(Heads, HeadGradient, testing::ValuesIn(test::tiny_heads()),
                         [](const auto& test) { return test.param.name; });

// ---- representations ------------------------------------------------------------------------------------------------

class KindGradient : public testing::TestWithParam<std::string> {};

TEST_P(KindGradient, AgreesWithCentralDifferences) {
  const auto backend = make_reference_backend();
  Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
  test::randomise_vectors(*backend, model, 4);
  test::represent(*backend, model, GetParam(), 6);
  EXPECT_TRUE(gradients_agree(*backend, model, test::tiny_batch(model, 5)));
  EXPECT_FALSE(gradients_agree(*backend, model, test::tiny_batch(model, 5), 1e-3));
}

INSTANTIATE_TEST_SUITE_P(Kinds, KindGradient,
                         testing::Values("masked", "csr", "low_rank", "low_rank_csr", "sum", "shared", "shared_sum",
                                         "no_heads", "few_heads", "few_neurons", "tucker", "embedding", "gated",
                                         "block_masked"),
                         [](const auto& test) { return test.param; });

// The decoder has the factors of the word embeddings for its own: both uses give them gradients.
TEST(TiedDecoder, OfFactoredEmbeddingsAgreesWithCentralDifferences) {
  const auto backend = make_reference_backend();
  const std::vector<test::TinyHead> heads = test::tiny_heads();
  for (const bool tied : {true, false}) {
    Config config = test::tiny_config(heads.back());
    ASSERT_EQ(config.head, HeadKind::masked_lm);
    config.tie_word_embeddings = tied;
    Model model = make_model(*backend, config, 3);
    test::randomise_vectors(*backend, model, 4);
    test::represent(*backend, model, "embedding", 6);
    EXPECT_EQ(model.head.decoder->weight->kind(), tied ? "low_rank" : "dense");
    const Batch batch = test::tiny_batch(model, 5);
    EXPECT_TRUE(gradients_agree(*backend, model, batch));
    EXPECT_FALSE(gradients_agree(*backend, model, batch, 1e-3));
  }
}

// ---- tied weights and scores
// --------------------------------------------------------------------------------------------

TEST(MaskedWeight, ScoresLearnByTheGradientOfEveryWeightAndWeightsOnlyWhereTheyAreKept) {
  const auto backend = make_reference_backend();
  RandomSource random(11);
  auto w = std::make_shared<Parameter>();
  w->value = test::random_matrix(*backend, random, 5, 4);
  MaskedWeight weight(*backend, w, true);
  for (std::int64_t i = 0; i < 20; i += 3) weight.mask().tensor.as<std::uint8_t>()[i] = 0;
  weight.refresh(*backend);
  w->grad = make_storage(*backend, 5, 4, DType::f64);
  weight.scores()->grad = make_storage(*backend, 5, 4, DType::f64);

  const Storage x = test::random_matrix(*backend, random, 4, 7), dy = test::random_matrix(*backend, random, 5, 7);
  Arena arena(*backend);
  Exec exec{*backend, arena};
  weight.apply_grad(exec, x.tensor, dy.tensor, {}, Write::overwrite);
  weight.apply_grad(exec, x.tensor, dy.tensor, {}, Write::overwrite);  // gradients accumulate
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t k = 0; k < 4; ++k) {
      double g = 0;
      for (std::int64_t t = 0; t < 7; ++t)
        g += 2 * dy.tensor.as<double>()[i * 7 + t] * x.tensor.as<double>()[k * 7 + t];
      const std::int64_t n = i * 4 + k;
      EXPECT_NEAR(w->gradient().as<double>()[n], n % 3 == 0 ? 0.0 : g, 1e-12);
      EXPECT_NEAR(weight.scores()->gradient().as<double>()[n], w->tensor().as<double>()[n] * g, 1e-12);
    }
  }
}

}  // namespace
}  // namespace bertx
