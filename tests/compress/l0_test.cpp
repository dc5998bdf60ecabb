// Pruning by hard concrete gates, and the penalty on scores that it shares with soft movement.
#include <cmath>

#include "bertx/gated_weight.h"
#include "pruning/schedule.h"
#include "pruning/soft_scores.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

Recipe l0(double sparsity = 0.5) {
  Recipe recipe{.method = "l0", .learning_rate = 1e-3, .sparsity = sparsity};
  recipe.schedule_begin = 0.0;
  return recipe;
}

TEST(Penalty, GradientIsThatOfTheMeanOverMatrices) {
  const auto backend = make_reference_backend();
  test::RandomSource random(1);
  std::vector<Parameter> parameters(2);
  std::vector<Parameter*> scores;
  for (Parameter& p : parameters) {
    const std::int64_t rows = scores.empty() ? 5 : 3;
    p.value = test::random_matrix(*backend, random, rows, 4);
    p.grad = make_storage(*backend, rows, 4, DType::f64);
    scores.push_back(&p);
  }
  for (const double shift : {0.0, -2.0 / 3.0 * std::log(0.1 / 1.1)}) {
    for (Parameter* p : scores) backend->fill(p->gradient(), 0.0);
    const auto by_hand = [&] {
      double value = 0;
      for (const Parameter* p : scores) {
        double sum = 0;
        for (const double s : test::values_of(*backend, p->tensor())) sum += 1 / (1 + std::exp(-s - shift));
        value += 125 * sum / static_cast<double>(p->tensor().size()) / 2;
      }
      return value;
    };
    EXPECT_NEAR(add_penalty(*backend, scores, 125, shift), by_hand(), 1e-10);
    for (Parameter* p : scores) {
      EXPECT_TRUE(test::gradient_agrees(by_hand, p->tensor(), p->gradient()));
      p->gradient().as<double>()[1] += 1e-3;
      EXPECT_FALSE(test::gradient_agrees(by_hand, p->tensor(), p->gradient()));
    }
  }
}

TEST(Penalty, KeepAboveKeepsAtLeastHalfAPercentAndOne) {
  std::vector<float> scores(1000, -9.0f);
  scores[500] = 0.5f;
  scores[3] = -1.0f;
  std::vector<std::uint8_t> mask(1000);
  keep_above(scores.data(), mask.data(), 1000, 0.1);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 6);
  EXPECT_TRUE(mask[500] && mask[3]);
  keep_above(scores.data(), mask.data(), 1000, 1e-6);  // σ(-9) = 1.2e-4
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 1000);
  keep_above(scores.data(), mask.data(), 1, 0.1);
  EXPECT_EQ(mask[0], 1);
  keep_above(nullptr, nullptr, 0, 0.1);
}

TEST(Penalty, SteeringComesBackFromItsState) {
  Steering one({.method = "l0"}, 125), two({.method = "l0"}, 100);
  TrainState state{.total_steps = 10};
  for (; state.step < 5; ++state.step) one.steer(state, 0.1 * static_cast<double>(state.step));
  two.load(one.save());
  one.steer(state, 0.3);
  two.steer(state, 0.3);
  EXPECT_EQ(one.lambda(), two.lambda());
  EXPECT_EQ(Steering({.method = "l0", .regularization = 7.0}, 125).lambda(), 7.0);
  for (const char* bad : {"", "{}", "{\"log_lambda\": \"x\", \"error\": 0, \"slow_share\": 0}"}) {
    EXPECT_THROW(one.load(bad), Error) << bad;
  }
}

// ---- gates ----------------------------------------------------------------------------------------------------------

TEST(L0, NoiseIsDrawnInEachStepAndGoneAfterTheUpdate) {
  const auto backend = make_backend("cpu");
  Model model = tiny_model(*backend);
  const auto hook = make_compressor(l0());
  TrainState state{.total_steps = 10};
  hook->begin(*backend, model, state);
  model.zero_gradients(*backend);
  const std::vector<double> settled = weights_of(*backend, model);
  hook->before_step(*backend, model, state);
  const std::vector<double> first = weights_of(*backend, model);
  EXPECT_NE(first, settled);
  EXPECT_GT(share_of_zeros(first), 0.0);
  model.refresh(*backend);
  hook->after_update(*backend, model, state);
  EXPECT_EQ(weights_of(*backend, model), settled);
  ++state.step;
  hook->before_step(*backend, model, state);
  EXPECT_NE(weights_of(*backend, model), first);
  state.step = 0;
  hook->before_step(*backend, model, state);
  EXPECT_EQ(weights_of(*backend, model), first);
}

TEST(L0, FinishedModelsSayWhatTheGatesWithoutNoiseSaid) {
  const auto backend = make_reference_backend();
  for (const char* kind : {"dense", "csr", "masked", "shared", "few_heads", "no_heads", "few_neurons"}) {
    Model model = tiny_model(*backend);
    if (kind != std::string("dense")) test::represent(*backend, model, kind, 6);
    const Batch batch = test::tiny_batch(model, 5);
    const auto hook = make_compressor(l0());
    TrainState state{.total_steps = 10};
    hook->begin(*backend, model, state);
    test::RandomSource random(9);
    std::size_t gates = 0, shut = 0;
    std::set<const LinearWeight*> seen;
    model.visit_linears([&](const std::string&, Linear& linear) {
      auto& gated = dynamic_cast<GatedWeight&>(*linear.weight);
      if (!seen.insert(&gated).second) return;
      const Tensor s = gated.scores().tensor();
      for (std::int64_t i = 0; i < s.size(); ++i) {
        s.as<double>()[i] = 3 * random.normal();
        ++gates;
        shut += s.as<double>()[i] <= -std::log(11.0);
      }
    });
    model.refresh(*backend);
    const std::vector<double> before = test::logits_of(*backend, model, batch);
    hook->before_step(*backend, model, state);
    hook->finish(*backend, model, state);
    const std::vector<double> after = test::logits_of(*backend, model, batch);
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-12) << kind;
    model.visit_linears([&](const std::string&, Linear& linear) { EXPECT_NE(linear.weight->kind(), "gated"); });
    if (kind == std::string("dense")) {
      EXPECT_NEAR(share_of_zeros(weights_of(*backend, model)), static_cast<double>(shut) / static_cast<double>(gates),
                  1e-9);
    }
  }
}

TEST(L0, OtherKindsAreRefusedAndTheModelIsAsItWas) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const LinearWeight& w = *model.layers[1].ffn_out.weight;
  model.layers[1].ffn_out.weight = std::make_shared<LowRankWeight>(
      std::make_shared<DenseWeight>(
          std::make_shared<Parameter>(Parameter{make_storage(*backend, w.out(), 2, DType::f64), {}})),
      std::make_shared<DenseWeight>(
          std::make_shared<Parameter>(Parameter{make_storage(*backend, 2, w.in(), DType::f64), {}})));
  const std::string message =
      usage_message([&] { make_compressor(l0())->begin(*backend, model, TrainState{.total_steps = 10}); });
  EXPECT_NE(message.find("layer.1.output.dense: found a weight of kind low_rank, expected dense or csr"),
            std::string::npos)
      << message;
  EXPECT_EQ(model.layers[0].query.weight->kind(), "dense");
}

TEST(L0, ResumesBitForBit) {
  expect_resumes(l0(), tiny_examples(30), {7});
  Recipe by_hand = l0();
  by_hand.regularization = 50.0;
  expect_resumes(by_hand, tiny_examples(30), {5});
}

TEST(L0, IsSteeredToTheSparsity) {
  for (const double sparsity : {0.5, 0.8}) {
    const Trained run = trained(l0(sparsity), tiny_examples(40), {.steps = 600, .stop = 600});
    EXPECT_NEAR(share_of_zeros(run.weights), sparsity, 0.05);
    EXPECT_NEAR(run.sparsities.back(), share_of_zeros(run.weights), 1e-9);
  }
}

}  // namespace
}  // namespace bertx::compress
