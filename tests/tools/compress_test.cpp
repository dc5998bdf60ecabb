// bertx compress: steps one after the other, going on after an end of any kind, changed recipes.
#include <signal.h>

#include <chrono>
#include <thread>

#include "recipe_fixture.h"

namespace bertx::test {
namespace {

TEST_F(RecipeTest, StepsEndInOneModelAndAReport) {
  // 1. What lies there afterwards.
  const std::string plot = (place / "plot.svg").string();
  const Outcome outcome = compress(kTwoSteps, "out", {"--json", "--plot", plot});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* directory : {"out", "out/step-1-heads", "out/step-2-magnitude"}) {
    for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "eval_results.json"}) {
      EXPECT_TRUE(fs::exists(place / directory / name)) << directory << " " << name;
    }
  }
  EXPECT_TRUE(same_model("out", "out/step-2-magnitude"));
  EXPECT_EQ(bertx({"eval", "--model", (place / "out").string(), "--validation_file", validation_file}).code, 0);

  // 2. What is said of it.
  const Json report = outcome.json(), &original = report["original"], &heads = report["steps"][0],
             &magnitude = report["steps"][1];
  EXPECT_EQ(report, Json::parse(read_all(place / "out/compress_results.json")));
  EXPECT_LT(heads["parameters"], original["parameters"]);
  EXPECT_LT(heads["multiplies"], original["multiplies"]);
  EXPECT_LT(magnitude["bytes"], heads["bytes"]);
  EXPECT_NEAR(magnitude["sparsity"].get<double>(), 0.6, 0.005);
  for (const Json* station : {&original, &heads, &magnitude}) {
    EXPECT_GT((*station)["latency_median_ms"], 0.0);
    EXPECT_GT((*station)["figures"]["eval_accuracy"], 0.4);
  }
  EXPECT_EQ(report["metric"], "eval_accuracy");
  EXPECT_GT(report["before_over_after"]["bytes"], 1.0);
  const std::string picture = read_all(plot);
  for (const char* part : {"<svg", "original", "step 1", "heads", "magnitude", "accuracy", "latency", "</svg>"}) {
    EXPECT_HAS(picture, part);
  }
  const Json inspected = bertx({"inspect", (place / "out").string(), "--json"}).json();
  EXPECT_EQ(inspected["layers"][0]["heads"].get<int>() + inspected["layers"][1]["heads"].get<int>(), 4);

  // 3. A second call finds everything done.
  const auto written = fs::last_write_time(place / "out/step-1-heads/model.safetensors");
  const Outcome again = compress(kTwoSteps, "out");
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_HAS(again.err, "done by an earlier call: 2 of 2 steps");
  EXPECT_EQ(fs::last_write_time(place / "out/step-1-heads/model.safetensors"), written);
  EXPECT_HAS(again.out, "step-2-magnitude");
  EXPECT_HAS(again.out, "in all: ");
}

TEST_F(RecipeTest, WithoutDataStepsRunAtOnce) {
  const Outcome outcome = bertx({"compress", "--recipe", "-", "--model", trained, "--output_dir", "x"});
  EXPECT_EQ(outcome.code, 4);  // no such file
  write_all(place / "own.json", R"({"steps": [{"method": "magnitude", "sparsity": 0.3},
                                              {"method": "magnitude", "sparsity": 0.7}]})");
  const Outcome at_once = bertx({"compress", "--recipe", (place / "own.json").string(), "--model", trained,
                                 "--output_dir", (place / "out").string(), "--latency_passes", "0", "--json"});
  ASSERT_EQ(at_once.code, 0) << at_once.err;
  EXPECT_NEAR(at_once.json()["steps"][1]["sparsity"].get<double>(), 0.7, 0.005);
  EXPECT_FALSE(at_once.json()["original"].contains("latency_median_ms"));
  EXPECT_TRUE(at_once.json()["metric"].is_null());
}

TEST_F(RecipeTest, AStepThatWasKilledGoesOnAndEndsInTheSameModel) {
  ASSERT_EQ(compress(kTwoSteps, "whole").code, 0);
  // As kill -9 leaves it: the second step begun, with a checkpoint of its middle, and nothing said to be finished.
  for (const char* left : {"a checkpoint", "nothing"}) {
    const std::string name = left == std::string("nothing") ? "none" : "some";
    fs::copy(place / "whole", place / name, fs::copy_options::recursive);
    const fs::path second = place / name / "step-2-magnitude";
    for (const auto& entry : fs::directory_iterator(second)) {
      const bool kept = name == "some" && entry.path().filename() == "checkpoint-8";
      if (!kept) fs::remove_all(entry.path());
    }
    Json state = Json::parse(read_all(place / name / "compress_state.json"));
    state["steps"][1]["finished"] = false;
    write_all(place / name / "compress_state.json", state.dump());
    fs::remove(place / name / "model.safetensors");
    const Outcome resumed = compress(kTwoSteps, name);
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_HAS(resumed.err, "done by an earlier call: 1 of 2 steps");
    EXPECT_EQ(contains(resumed.err, "resumed at step 8"), name == "some") << resumed.err;
    EXPECT_TRUE(same_model(name, "whole")) << left;
  }
}

TEST_F(RecipeTest, ASignalEndsItAfterACheckpointAndTheSameCommandGoesOn) {
  const std::string recipe = R"({"steps": [{"method": "magnitude", "sparsity": 0.4},
    {"method": "magnitude", "sparsity": 0.6, "train": {"max_steps": 300, "logging_steps": 3, "save_strategy": "no"}}]})";
  const pid_t child = start_bertx(place, compress_arguments(recipe, "stopped"));
  bool started = false;
  for (int i = 0; i < 4000 && !started; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    started = contains(read_all(place / "stderr"), "step 3/300");
  }
  ASSERT_TRUE(started) << read_all(place / "stderr");
  ::kill(child, SIGINT);
  const int code = wait_for(child);
  if (code == 0) GTEST_SKIP() << "the machine trained 300 steps before the signal came";
  EXPECT_EQ(code, 130) << read_all(place / "stderr");
  EXPECT_HAS(read_all(place / "stderr"), "the same command goes on");
  EXPECT_FALSE(fs::exists(place / "stopped/model.safetensors"));

  const Outcome resumed = compress(recipe, "stopped");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_HAS(resumed.err, "done by an earlier call: 1 of 2 steps");
  EXPECT_HAS(resumed.err, "resumed at step");
  ASSERT_EQ(compress(recipe, "whole").code, 0);
  EXPECT_TRUE(same_model("stopped", "whole"));
}

TEST_F(RecipeTest, AChangedRecipeRunsAgainFromTheFirstStepThatDiffersIfAskedTo) {
  const std::string first = R"({"steps": [{"method": "heads", "sparsity": 0.25},
                                          {"method": "magnitude", "sparsity": 0.5}]})";
  const std::string second = R"({"steps": [{"method": "heads", "sparsity": 0.25},
                                           {"method": "magnitude", "sparsity": 0.7}]})";
  ASSERT_EQ(compress(first, "out").code, 0);
  const std::string before = read_all(place / "out/model.safetensors");
  const Outcome refused = compress(second, "out");
  EXPECT_EQ(refused.code, 2);
  EXPECT_HAS(refused.err, "step-2-magnitude has other settings");
  EXPECT_HAS(refused.err, "--overwrite_output_dir");
  EXPECT_TRUE(read_all(place / "out/model.safetensors") == before);

  const auto written = fs::last_write_time(place / "out/step-1-heads/model.safetensors");
  const Outcome changed = compress(second, "out", {"--overwrite_output_dir"});
  ASSERT_EQ(changed.code, 0) << changed.err;
  EXPECT_EQ(fs::last_write_time(place / "out/step-1-heads/model.safetensors"), written);
  ASSERT_EQ(compress(second, "fresh").code, 0);
  EXPECT_TRUE(same_model("out", "fresh"));

  // A step more goes on; one less, other data or another model do not.
  const std::string longer = second.substr(0, second.rfind(']')) + R"(, {"method": "magnitude", "sparsity": 0.8}]})";
  const Outcome more = compress(longer, "out");
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_HAS(more.err, "done by an earlier call: 2 of 3 steps");
  const Outcome fewer = compress(second, "out");
  EXPECT_EQ(fewer.code, 2);
  EXPECT_HAS(fewer.err, "step-3-magnitude is no step of the recipe any more");
  EXPECT_HAS(compress(longer, "out", {"--max_train_samples", "40"}).err, "the data are others");
  EXPECT_HAS(compress(longer, "out", {"--model", model}).err, "the model is another one");
}

TEST_F(RecipeTest, ALostStepIsMadeAgain) {
  ASSERT_EQ(compress(kTwoSteps, "whole").code, 0);
  fs::copy(place / "whole", place / "lost", fs::copy_options::recursive);
  fs::remove_all(place / "lost/step-1-heads");
  const Outcome outcome = compress(kTwoSteps, "lost");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(same_model("lost/step-1-heads", "whole/step-1-heads"));
  EXPECT_TRUE(same_model("lost", "whole"));
}

}  // namespace
}  // namespace bertx::test
