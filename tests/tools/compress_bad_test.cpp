// bertx compress, what it refuses: everything is checked before the first step, and nothing is written over.
#include "recipe_fixture.h"

namespace bertx::test {
namespace {

struct Bad {
  std::string recipe;
  int code;
  std::vector<std::string> words;
  std::vector<std::string> flags = {};
};

TEST_F(RecipeTest, WhatIsWrongIsNamedBeforeAnythingRuns) {
  const std::string good = R"({"method": "magnitude", "sparsity": 0.5})";
  const auto steps = [&](const std::string& last) { return R"({"steps": [)" + good + ", " + last + "]}"; };
  const std::vector<Bad> all{
      {"{", 3, {"recipe.json"}},
      {R"({"steps": []})", 3, {"recipe.json", "steps"}},
      {steps(R"({"method": "magnitud"})"), 3, {"recipe.json: step 2", "method", "magnitud", "did you mean"}},
      {steps(R"({"method": "magnitude", "sparsty": 0.5})"), 3, {"step 2 (magnitude)", "sparsty", "sparsity"}},
      {steps(R"({"method": "magnitude", "sparsity": 1.0})"), 3, {"step 2 (magnitude)", "sparsity", "less than 1"}},
      {steps(R"({"method": "magnitude", "sparsity": 0.2})"), 3, {"step 2 (magnitude)", "at least 0.5"}},
      {steps(R"({"method": "heads", "sparsity": 0.5})"), 3, {"step 2 (heads)", "after step 1", "expected it before"}},
      {steps(R"({"method": "movement", "sparsity": 0.6})"), 3, {"step 2 (movement)", "train", "by training only"}},
      {steps(R"({"train": {"learning_rat": 1}})"), 3, {"step 2 (fine_tune): train: learning_rat", "learning_rate"}},
      {steps(R"({"train": {"learning_rate": -1}})"), 3, {"step 2 (fine_tune): train: learning_rate", "-1"}},
      {steps(R"({"train": {"lr_scheduler_type": "x"}})"), 3, {"step 2", "lr_scheduler_type", "linear"}},
      {steps(R"({"train": {"max_seq_length": 8}})"), 3, {"step 2", "max_seq_length", "beside the steps"}},
      {steps(R"({"train": {"output_dir": "x"}})"), 3, {"step 2", "output_dir", "--output_dir"}},
      {steps(R"({"train": {"load_best_model_at_end": true}})"), 3, {"step 2", "load_best_model_at_end"}},
      {steps(R"({"train": {"eval_strategy": "epoch", "metric_for_best_model": "f9"}})"), 2, {"step 2", "f9"}},
      {R"({"train": {"dry_run": true}, "steps": [)" + good + "]}", 3, {"recipe.json: train: dry_run", "--dry_run"}},
      {R"({"train": {"max_stepz": 3}, "steps": [)" + good + "]}", 3, {"recipe.json: train: max_stepz", "max_steps"}},
      {steps(good), 2, {"--max_seq_length"}, {"--max_seq_length", "4000"}},
      {steps(good), 2, {"--resume_from_checkpoint"}, {"--resume_from_checkpoint", "true"}},
      {steps(good), 4, {"nowhere"}, {"--model", (place / "nowhere").string()}},
      {steps(good), 4, {"nowhere"}, {"--train_file", (place / "nowhere.tsv").string()}},
      {steps(good), 4, {"--plot"}, {"--plot", (place / "no/such/plot.svg").string()}},
  };
  for (const Bad& bad : all) {
    const Outcome outcome = compress(bad.recipe, "out", bad.flags);
    EXPECT_EQ(outcome.code, bad.code) << bad.recipe << "\n" << outcome.err;
    for (const std::string& word : bad.words) EXPECT_HAS(outcome.err, word);
    EXPECT_FALSE(fs::exists(place / "out")) << bad.recipe;
  }
}

TEST_F(RecipeTest, ARankAboveTheFullOneIsRefused) {
  for (const auto& method : {"svd", "drone"}) {
    const Outcome outcome = compress(R"({"steps": [{"method": ")" + std::string(method) + R"(", "rank": 33}]})", "out");
    EXPECT_EQ(outcome.code, 3) << outcome.err;  // as an unknown method, where this build has none of that name
    EXPECT_HAS(outcome.err, "recipe.json: step 1");
    EXPECT_FALSE(fs::exists(place / "out"));
  }
  const Outcome share = compress(R"({"steps": [{"method": "share", "groups": 3}]})", "out");
  EXPECT_EQ(share.code, 3) << share.err;
  EXPECT_HAS(share.err, "step 1 (share): groups: found 3, expected at most 1");
  EXPECT_FALSE(fs::exists(place / "out"));
}

TEST_F(RecipeTest, WhatOnlyTheStepsBeforeCanTellNamesTheStepAndLeavesThem) {
  const std::string recipe = R"({"steps": [{"method": "tucker", "tucker_rank": 12, "tucker_cores": 8},
                                           {"method": "magnitude", "sparsity": 0.5}]})";
  const Outcome outcome = compress(recipe, "out");
  if (outcome.code == 0) GTEST_SKIP() << "factors can be pruned in this build";
  EXPECT_EQ(outcome.code, 2);
  EXPECT_HAS(outcome.err, "recipe.json: step 2 (magnitude): ");
  EXPECT_HAS(outcome.err, "layer.0");
  EXPECT_TRUE(fs::exists(place / "out/step-1-tucker/model.safetensors"));
  EXPECT_FALSE(fs::exists(place / "out/model.safetensors"));
  EXPECT_HAS(compress(recipe, "out").err, "done by an earlier call: 1 of 2 steps");
}

TEST_F(RecipeTest, DataWithoutLabelsOrNoneAtAllIsRefused) {
  write_all(place / "unlabelled.tsv", "text\nthe film was good .\n");
  const Outcome unlabelled = compress(kTwoSteps, "out", {"--train_file", (place / "unlabelled.tsv").string()});
  EXPECT_EQ(unlabelled.code, 3) << unlabelled.err;
  EXPECT_HAS(unlabelled.err, "label");
  write_all(place / "recipe.json", kTwoSteps);
  const std::vector<std::string> without{"compress", "--recipe",     (place / "recipe.json").string(), "--model",
                                         trained,    "--output_dir", (place / "out").string()};
  const Outcome none = bertx(without);
  EXPECT_EQ(none.code, 2);
  EXPECT_HAS(none.err, "step 1 (heads)");
  EXPECT_HAS(none.err, "labelled texts");
  EXPECT_FALSE(fs::exists(place / "out"));
  for (const char* flag : {"--recipe", "--model", "--output_dir"}) {
    auto lacking = without;
    const auto at = std::ranges::find(lacking, flag);
    lacking.erase(at, at + 2);
    EXPECT_EQ(bertx(lacking).code, 2) << flag;
  }
}

TEST_F(RecipeTest, OtherPeoplesDirectoriesAreLeftAlone) {
  write_all(place / "mine/notes.txt", "mine");
  const Outcome foreign = compress(kTwoSteps, "mine");
  EXPECT_EQ(foreign.code, 2);
  EXPECT_HAS(foreign.err, "--output_dir");
  EXPECT_EQ(read_all(place / "mine/notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(place / "mine/compress_state.json"));
  EXPECT_EQ(compress(kTwoSteps, "trained").code, 2);
  EXPECT_FALSE(fs::exists(place / "trained/compress_state.json"));
  const Outcome itself = compress(kTwoSteps, "trained", {"--overwrite_output_dir"});
  EXPECT_EQ(itself.code, 2);
  EXPECT_HAS(itself.err, "directory of the model itself");

  for (const char* state : {"{", R"({"version": 9})", R"({"version": 1, "model": "", "data": "", "steps": 3})",
                            R"({"version": 1, "model": "", "data": "", "steps": [{"name": "../x"}]})"}) {
    write_all(place / "damaged/compress_state.json", state);
    const Outcome damaged = compress(kTwoSteps, "damaged", {"--overwrite_output_dir"});
    EXPECT_EQ(damaged.code, 3) << state << damaged.err;
    EXPECT_HAS(damaged.err, "compress_state.json");
  }
}

TEST_F(RecipeTest, ADryRunPrintsThePlanAndWritesNothing) {
  const Outcome text = compress(kTwoSteps, "out", {"--dry_run"});
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* part : {"step-1-heads", "at once", "step-2-magnitude", "16 updates", "sparsity 0.6", "labelled"}) {
    EXPECT_HAS(text.out, part);
  }
  const Json plan = compress(kTwoSteps, "out", {"--dry_run", "--json"}).json();
  EXPECT_EQ(plan["updates"], 16);
  EXPECT_EQ(plan["steps"][1]["options"]["sparsity"], 0.6);
  EXPECT_EQ(plan["steps"][0]["done"], false);
  EXPECT_FALSE(fs::exists(place / "out"));
}

TEST_F(RecipeTest, TheRecipeGoesBeforeTheCommandLine) {
  const std::string recipe = R"({"train": {"num_train_epochs": 3},
    "steps": [{"method": "fine_tune"}, {"train": {"num_train_epochs": 1}}, {"train": {"max_steps": 5}}]})";
  const Json plan = compress(recipe, "out", {"--dry_run", "--json", "--num_train_epochs", "7"}).json();
  EXPECT_EQ(plan["steps"][0]["updates"], 24);
  EXPECT_EQ(plan["steps"][1]["updates"], 8);
  EXPECT_EQ(plan["steps"][2]["updates"], 5);
}

}  // namespace
}  // namespace bertx::test
