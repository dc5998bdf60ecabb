// The configuration files of compress/recipes are understood as they are.
#include <algorithm>

#include "bertx/recipe.h"
#include "command.h"

namespace bertx::test {
namespace {

bool is_a_method(const Json& step) {
  const std::string name = step.value("method", "fine_tune");
  return name == "fine_tune" ||
         std::ranges::any_of(compress::methods(), [&](const compress::Method& method) { return method.name == name; });
}

TEST_F(ToolsTest, ReadyRecipesParseAndPlan) {
  int flags = 0, recipes = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(BERTX_SOURCE_DIR) / "compress/recipes")) {
    if (entry.path().extension() != ".json") continue;
    const Json json = Json::parse(read_all(entry.path()));
    std::vector<std::string> arguments{
        "--model_name_or_path", model, "--train_file", train_file, "--output_dir", (place / "out").string(),
        "--max_seq_length",     "16",  "--dry_run"};
    if (!json.contains("steps")) {
      ++flags;
      arguments.insert(arguments.begin(), {"prune", entry.path().string()});
      const Outcome outcome = bertx(arguments);
      EXPECT_EQ(outcome.code, 0) << entry.path() << ": " << outcome.err;
      EXPECT_HAS(outcome.out, "steps: " + std::to_string(json.at("num_train_epochs").get<int>() * 4));
      continue;
    }
    ++recipes;
    if (!std::ranges::all_of(json["steps"], is_a_method)) {
      std::cout << entry.path() << ": a method is not in this build\n";
      continue;
    }
    // A model of 29 words and 32 features has no room for the 128 of the word embeddings.
    Json small = json;
    for (Json& step : small["steps"]) {
      if (step.value("method", "") == "embedding") step["rank"] = 8;
    }
    write_all(place / "small.json", small.dump());
    arguments.insert(arguments.begin(), {"compress", "--recipe", (place / "small.json").string(), "--json"});
    const Outcome outcome = bertx(arguments);
    ASSERT_EQ(outcome.code, 0) << entry.path() << ": " << outcome.err;
    EXPECT_EQ(outcome.json()["steps"].size(), json["steps"].size());
    EXPECT_GT(outcome.json()["updates"], 0);
  }
  EXPECT_EQ(flags, 2);
  EXPECT_GE(recipes, 2);
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
