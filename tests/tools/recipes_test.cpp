// The configuration files of compress/recipes are understood as they are.
#include "command.h"

namespace bertx::test {
namespace {

TEST_F(ToolsTest, ReadyRecipesParseAndPlan) {
  int found = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(BERTX_SOURCE_DIR) / "compress/recipes")) {
    if (entry.path().extension() != ".json") continue;
    ++found;
    const Outcome outcome =
        bertx({"prune", entry.path().string(), "--model_name_or_path", model, "--train_file", train_file,
               "--output_dir", (place / "out").string(), "--max_seq_length", "16", "--dry_run"});
    EXPECT_EQ(outcome.code, 0) << entry.path() << ": " << outcome.err;
    EXPECT_HAS(outcome.out,
               "steps: " + std::to_string(Json::parse(read_all(entry.path())).at("num_train_epochs").get<int>() * 4));
  }
  EXPECT_EQ(found, 2);
}

TEST_F(ToolsTest, TheOptimalBertSurgeonTrainsWithASawtooth) {
  auto arguments = train_arguments(
      "out", {"--method", "obert", "--sparsity", "0.6", "--initial_sparsity", "0.4", "--fisher_gradients", "16",
              "--recomputations", "3", "--lr_scheduler_type", "sawtooth", "--sawtooth_epochs", "2", "--json"});
  arguments[0] = "prune";
  const Outcome outcome = bertx(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NEAR(bertx({"inspect", (place / "out").string(), "--json"}).json().at("encoder").at("sparsity").get<double>(),
              0.6, 1e-3);
}

}  // namespace
}  // namespace bertx::test
