// Zeros at random, and patterns of n of every m for every method that ranks weights.
#include "pruning/masks.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

TEST(RandomPruning, IsAFunctionOfTheSeedAndExactInEveryMatrix) {
  const auto backend = make_backend("cpu");
  std::vector<std::vector<double>> of_seed;
  for (const std::uint64_t seed : {1, 1, 2}) {
    Model model = tiny_model(*backend);
    compress_now(*backend, model, {.method = "random", .seed = seed, .sparsity = 0.75});
    model.visit_linears([&](const std::string& path, Linear& linear) {
      EXPECT_EQ(linear.weight->nonzeros(*backend), linear.weight->out() * linear.weight->in() / 4) << path;
    });
    of_seed.push_back(weights_of(*backend, model));
  }
  EXPECT_EQ(of_seed[0], of_seed[1]);
  EXPECT_NE(of_seed[0], of_seed[2]);
}

TEST(RandomPruning, MasksAreNestedWhileTheSparsityRises) {
  const auto backend = make_reference_backend();
  for (const Recipe& recipe :
       {Recipe{.method = "random", .scope = "local"}, Recipe{.method = "random", .scope = "row"},
        Recipe{.method = "random", .scope = "global"}, Recipe{.method = "random", .distribution = "erdos_renyi"},
        Recipe{.method = "random", .sparsity_is_stated = false, .pattern = "2:4"}}) {
    Recipe used = recipe;
    used.schedule_begin = 0.0;
    used.schedule_end = 1.0;
    used.mask_interval = 1;
    Model model = tiny_model(*backend);
    const auto hook = make_compressor(used);
    TrainState state{.total_steps = 6};
    hook->begin(*backend, model, state);
    std::vector<double> before = weights_of(*backend, model);
    for (; state.step < 6; ++state.step) {
      hook->before_step(*backend, model, state);
      const std::vector<double> now = weights_of(*backend, model);
      for (std::size_t i = 0; i < now.size(); ++i) EXPECT_TRUE(before[i] != 0.0 || now[i] == 0.0);
      EXPECT_GE(share_of_zeros(now), share_of_zeros(before));
      before = now;
    }
    hook->finish(*backend, model, state);
    EXPECT_NEAR(share_of_zeros(weights_of(*backend, model)), recipe.pattern.empty() ? 0.9 : 0.5, 0.05);
  }
}

TEST(RandomPruning, ResumesBitForBit) {
  expect_resumes({.method = "random", .sparsity = 0.8, .mask_interval = 2}, tiny_examples(30), {5});
}

// ---- memory that is not the host's ----------------------------------------------------------------------------------

TEST(Pruning, IsTheSameWhereTheHostCannotReachTheMemory) {
  const std::vector<EncodedExample> examples = tiny_examples(30);
  for (const char* method :
       {"magnitude", "random", "movement", "soft_movement", "block_movement", "l0", "iterative_magnitude"}) {
    Recipe recipe{.method = method, .learning_rate = 1e-3, .sparsity = 0.5, .schedule_begin = 0.0, .mask_interval = 2};
    recipe.score_learning_rate = 2.0;  // scores have twelve steps to fall
    recipe.block_height = recipe.block_width = 5;
    recipe.rewind = 0.5;
    if (method == std::string("magnitude")) recipe.distribution = "sensitivity";
    const Trained here = trained(recipe, examples), there = trained(recipe, examples, {.stop = 7, .elsewhere = true});
    EXPECT_EQ(here.parameters, there.parameters) << method;
    EXPECT_EQ(here.sparsities, there.sparsities) << method;
    EXPECT_GT(here.sparsities.back(), 0.1) << method;
  }
}

// ---- patterns -------------------------------------------------------------------------------------------------------

TEST(Pattern, EveryMethodThatRanksWeightsHasIt) {
  const std::vector<EncodedExample> examples = tiny_examples(30);
  for (const char* pattern : {"2:4", "4:8"}) {
    const std::int64_t kept = pattern[0] - '0', of = pattern[2] - '0';
    for (const char* method :
         {"magnitude", "random", "movement", "iterative_magnitude", "wanda", "sparsegpt", "obert"}) {
      Recipe recipe{.method = method, .sparsity_is_stated = false, .pattern = pattern, .mask_interval = 1};
      recipe.fisher_gradients = 10;
      recipe.recomputations = 2;
      const std::vector<double> w = trained(recipe, examples).weights;
      std::size_t at = 0;
      for (int layer = 0; layer < 2; ++layer) {
        for (const auto& [rows, cols] : {std::pair{12, 12}, {12, 12}, {12, 12}, {12, 12}, {10, 12}, {12, 10}}) {
          for (std::int64_t row = 0; row < rows; ++row) {
            for (std::int64_t first = 0; first < cols; first += of) {
              const std::int64_t count = std::min<std::int64_t>(of, cols - first);
              const auto group = w.begin() + static_cast<std::ptrdiff_t>(at) + first;
              EXPECT_LE(std::count_if(group, group + count, [](double x) { return x != 0.0; }),
                        (kept * count + of - 1) / of)
                  << method << " " << pattern;
            }
            at += static_cast<std::size_t>(cols);
          }
        }
      }
      EXPECT_EQ(at, w.size());
      EXPECT_LT(share_of_zeros(w), 0.55) << method;
    }
  }
}

TEST(Pattern, MethodsThatDoNotRankWeightsRefuseIt) {
  for (const char* method : {"soft_movement", "block_movement", "l0", "heads"}) {
    EXPECT_NE(usage_message([&] {
                check({.method = method, .sparsity_is_stated = false, .pattern = "2:4"});
              }).find("pattern: found 2:4 with method " + std::string(method)),
              std::string::npos);
    EXPECT_NE(usage_message([&] {
                check({.method = method, .distribution = "erdos_renyi"});
              }).find("distribution: found erdos_renyi with method " + std::string(method)),
              std::string::npos);
  }
}

}  // namespace
}  // namespace bertx::compress
