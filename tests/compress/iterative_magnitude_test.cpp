// Rounds of pruning with training between them, and weights that are rewound.
#include <cmath>

#include "pruning/masks.h"
#include "pruning/rewind.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

Recipe three_rounds(double sparsity = 0.8) {
  Recipe recipe{.method = "iterative_magnitude", .sparsity = sparsity};
  recipe.rounds = 3;
  return recipe;
}

// Moves every parameter as a training would.
void move(Backend& backend, Model& model, std::uint64_t seed) {
  test::RandomSource random(seed);
  model.visit([&](const std::string&, Parameter& p) {
    for (std::int64_t i = 0; i < p.tensor().size(); ++i) p.tensor().as<double>()[i] += random.normal();
  });
  model.refresh(backend);
}

TEST(IterativeMagnitude, EachRoundDropsTheSameShareOfWhatIsLeft) {
  const Trained run = trained(three_rounds(), tiny_examples(30));
  ASSERT_EQ(run.sparsities.size(), 12u);
  for (std::size_t step = 0; step < 12; ++step) {  // before steps 3, 6 and 9
    EXPECT_NEAR(run.sparsities[step], 1 - std::pow(0.2, static_cast<double>(step / 3) / 3), 0.01) << step;
  }
  EXPECT_NEAR(share_of_zeros(run.weights), 0.8, 0.01);
}

TEST(IterativeMagnitude, WhatIsPrunedStaysPrunedAndTheSmallestOfTheRestGo) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const auto hook = make_compressor(three_rounds());
  TrainState state{.total_steps = 12};
  hook->begin(*backend, model, state);
  std::vector<double> before = weights_of(*backend, model);
  for (; state.step < 12; ++state.step) {
    move(*backend, model, static_cast<std::uint64_t>(state.step));
    const std::vector<double> moved = weights_of(*backend, model);
    hook->before_step(*backend, model, state);
    const std::vector<double> now = weights_of(*backend, model);
    double largest_gone = 0, smallest_kept = 1e9;
    for (std::size_t i = 0; i < 144; ++i) {  // of the first matrix
      EXPECT_TRUE(before[i] != 0.0 || now[i] == 0.0);
      if (now[i] != 0.0) smallest_kept = std::min(smallest_kept, std::abs(now[i]));
      if (now[i] == 0.0) largest_gone = std::max(largest_gone, std::abs(moved[i]));
    }
    if (state.step % 3 == 0) {
      EXPECT_LT(largest_gone, smallest_kept);
    }
    before = now;
  }
}

TEST(IterativeMagnitude, AllWeightsGoBackToWhereTheyWereInTheFirstPart) {
  const auto backend = make_reference_backend();
  for (const double rewind : {0.0, 0.6, 1.0}) {  // steps 0, 2, 3
    Model model = tiny_model(*backend);
    Recipe recipe = three_rounds();
    recipe.rewind = rewind;
    const auto hook = make_compressor(recipe);
    TrainState state{.total_steps = 12};
    hook->begin(*backend, model, state);
    std::map<std::string, std::vector<double>> wanted;
    for (; state.step < 12; ++state.step) {
      if (state.step == std::llround(rewind * 3)) wanted = parameters_of(*backend, model);
      const auto before = parameters_of(*backend, model);
      hook->before_step(*backend, model, state);
      const bool pruned = state.step > 0 && state.step % 3 == 0;
      EXPECT_EQ(parameters_of(*backend, model), pruned ? wanted : before) << state.step;
      if (state.step > 3 && pruned) {
        EXPECT_NE(wanted, before);
      }
      move(*backend, model, static_cast<std::uint64_t>(state.step));
    }
    hook->finish(*backend, model, state);
    EXPECT_NEAR(share_of_zeros(weights_of(*backend, model)), 0.8, 0.01);
  }
}

TEST(IterativeMagnitude, ResumesBitForBit) {
  const std::vector<EncodedExample> examples = tiny_examples(30);
  expect_resumes(three_rounds(), examples, {4});
  Recipe recipe = three_rounds();
  recipe.rewind = 0.0;
  expect_resumes(recipe, examples, {4, 10});
  recipe.rewind = 0.6;
  expect_resumes(recipe, examples, {2, 7});
}

TEST(IterativeMagnitude, TheLastOfSeveralRoundsAtOneStepCounts) {
  Recipe recipe = three_rounds();
  recipe.rounds = 50;
  recipe.rewind = 0.5;
  EXPECT_NEAR(share_of_zeros(trained(recipe, tiny_examples(30)).weights), 0.8, 0.01);
}

TEST(RewindPoint, ComesBackFromItsFileAndRefusesAnotherModels) {
  const auto backend = make_backend("cpu");
  test::TemporaryDirectory directory;
  Model model = tiny_model(*backend);
  const auto before = parameters_of(*backend, model);
  RewindPoint point, again;
  point.save(directory / "nothing");
  EXPECT_FALSE(std::filesystem::exists(directory / "nothing"));
  point.take(*backend, model);
  point.save(directory / "hook_rewind.safetensors");
  model.visit([&](const std::string&, Parameter& p) { backend->fill(p.tensor(), 3.0); });
  again.load(directory / "hook_rewind.safetensors");
  again.restore(*backend, model);
  EXPECT_EQ(parameters_of(*backend, model), before);

  Config config = test::tiny_config(test::tiny_heads().front());
  config.ffn = 11;
  for (LayerShape& layer : config.layers) layer.ffn = 11;
  Model other = make_model(*backend, config, 3);
  const auto unchanged = parameters_of(*backend, other);
  EXPECT_THROW(again.restore(*backend, other), Error);
  EXPECT_EQ(parameters_of(*backend, other), unchanged);

  // A checkpoint that has lost the file.
  Recipe recipe = three_rounds();
  recipe.rewind = 0.0;
  const auto hook = make_compressor(recipe);
  TrainState state{.step = 2, .total_steps = 12};
  hook->begin(*backend, model, state);
  hook->load_files(*backend, directory / "elsewhere");
  state.step = 3;
  EXPECT_THROW(hook->before_step(*backend, model, state), Error);
}

}  // namespace
}  // namespace bertx::compress
