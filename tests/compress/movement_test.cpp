// Movement pruning in short trainings: scores that begin at magnitudes, and the penalty that is steered to a sparsity.
#include <cmath>
#include <numeric>

#include "pruning/masks.h"
#include "pruning/schedule.h"
#include "pruning/soft_scores.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

Recipe movement(const char* method) {
  Recipe recipe{.method = method, .sparsity = 0.6, .mask_interval = 1};
  recipe.score_learning_rate = 0.03;
  recipe.score_start = 1.0;
  return recipe;
}

TEST(ScoreStart, ScoresBeginAtMultiplesOfMagnitudesInUnitsOfTheirMatrix) {
  for (const char* method : {"movement", "soft_movement"}) {
    const auto backend = make_backend("cpu");
    Model model = tiny_model(*backend);
    const auto hook = make_compressor(movement(method));
    hook->begin(*backend, model, {.total_steps = 10});
    for (const MaskedMatrix& matrix : masked_matrices(model)) {
      const std::vector<double> w = test::values_of(*backend, matrix.weight->parameter()->tensor());
      const std::vector<double> scores = test::values_of(*backend, matrix.weight->scores()->tensor());
      const double squares = std::inner_product(w.begin(), w.end(), w.begin(), 0.0);
      const double rms = std::sqrt(squares / static_cast<double>(w.size()));
      for (std::size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(scores[i], std::abs(w[i]) / rms, 1e-5) << method;
    }
  }
}

TEST(ScoreStart, ATrainingThatResumesGoesOnWithItsScores) {
  for (const char* method : {"movement", "soft_movement"}) expect_resumes(movement(method), tiny_examples(30), {5, 9});
}

// Scores between 0 and 3 that fall as the penalty asks, but with a delay and at most by so much a step; some resist.
TEST(Steering, ZerosFollowTheCubicAndStayWhereTheyShould) {
  for (const double sparsity : {0.5, 0.8, 0.9}) {
    Recipe recipe{.method = "soft_movement", .sparsity = sparsity};
    Steering steering(recipe, 100);
    constexpr int size = 2000;
    std::vector<double> scores(size), speed(size, 0.0), pull(size);
    for (int i = 0; i < size; ++i) {
      scores[static_cast<std::size_t>(i)] = 3.0 * i / size;
      pull[static_cast<std::size_t>(i)] = std::exp(4.0 * ((i * 37) % size) / size);  // of the loss, upwards
    }
    double share = 0, most = 0;
    TrainState state{.total_steps = 2000};
    for (; state.step < state.total_steps; ++state.step) {
      const double part = risen(recipe, state), rate = 0.01 * (1.0 - progress(state));
      if (part <= 0) continue;
      const double limit = std::log(recipe.threshold * part / (1.0 - recipe.threshold * part));
      share =
          static_cast<double>(std::count_if(scores.begin(), scores.end(), [&](double s) { return s <= limit; })) / size;
      most = std::max(most, share);
      steering.steer(state, share);
      for (std::size_t i = 0; i < scores.size(); ++i) {
        const double sigma = 1.0 / (1.0 + std::exp(-scores[i]));
        const double push = steering.lambda() * part * sigma * (1.0 - sigma) / 50.0;
        speed[i] = 0.9 * speed[i] + 0.1 * (pull[i] - push) / (pull[i] + push);
        scores[i] += rate * speed[i];
      }
    }
    EXPECT_NEAR(share, sparsity, 0.02);
    EXPECT_LT(most, sparsity + 0.02);
  }
}

TEST(SoftMovement, IsSteeredToTheSparsity) {
  for (const double sparsity : {0.5, 0.8}) {
    Recipe recipe = movement("soft_movement");
    recipe.sparsity = sparsity;
    const Trained run = trained(recipe, tiny_examples(40), {.steps = 1000, .stop = 1000});
    EXPECT_NEAR(share_of_zeros(run.weights), sparsity, 0.05);
    EXPECT_NEAR(run.sparsities.back(), share_of_zeros(run.weights), 1e-9);
  }
}

}  // namespace
}  // namespace bertx::compress
