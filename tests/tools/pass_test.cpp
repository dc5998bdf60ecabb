// The whole way on a tiny model that really learns: train, evaluate, predict, prune, resume.
#include <signal.h>

#include <chrono>
#include <thread>

#include "command.h"

namespace bertx::test {
namespace {

double figure(const fs::path& file, const std::string& key) {
  return Json::parse(read_all(file)).at(key).get<double>();
}

TEST_F(ToolsTest, TrainEvalPredictPrune) {
  // 1. Training learns, and writes what it says.
  const fs::path trained = place / "trained";
  const Outcome train = bertx(train_arguments("trained", {"--eval_strategy", "epoch", "--logging_steps", "8"}));
  ASSERT_EQ(train.code, 0) << train.err;
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json",
                           "trainer_state.json", "train_results.json", "eval_results.json", "all_results.json"}) {
    EXPECT_TRUE(fs::exists(trained / name)) << name;
  }
  EXPECT_TRUE(fs::is_directory(trained / "checkpoint-48"));
  EXPECT_GE(figure(trained / "eval_results.json", "eval_accuracy"), 0.9);
  const Json history = Json::parse(read_all(trained / "trainer_state.json")).at("log_history");
  double first = -1, last = -1;
  for (const Json& entry : history) {
    if (!entry.contains("loss")) continue;
    if (first < 0) first = entry["loss"];
    last = entry["loss"];
  }
  EXPECT_LT(last, first / 2) << history.dump();
  EXPECT_FALSE(contains(train.err, "\r")) << "a progress bar was drawn into a file";
  EXPECT_HAS(train.err, "step 8/48");

  // 2. eval agrees with what train measured.
  const Outcome eval = bertx({"eval", "--model", trained.string(), "--validation_file", validation_file, "--json",
                              "--max_seq_length", "16", "--output_dir", (place / "eval").string()});
  ASSERT_EQ(eval.code, 0) << eval.err;
  for (const char* key : {"eval_accuracy", "eval_loss", "eval_samples", "eval_runtime", "eval_samples_per_second"}) {
    EXPECT_TRUE(eval.json().contains(key)) << key;
  }
  EXPECT_EQ(eval.json()["eval_samples"], 24);
  EXPECT_NEAR(eval.json()["eval_loss"].get<double>(), figure(trained / "eval_results.json", "eval_loss"), 1e-5);
  EXPECT_TRUE(fs::exists(place / "eval/eval_results.json"));

  // 3. Names of labels come through.
  const Outcome predicted = bertx({"predict", "--model", trained.string()}, {"the film was very good .\n", {}, ""});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_EQ(predicted.json()["label"], "positive");

  // 4. Pruning during training.
  const fs::path pruned = place / "pruned";
  auto prune_arguments = train_arguments("pruned", {"--method", "magnitude", "--sparsity", "0.8", "--json"});
  prune_arguments[0] = "prune";
  prune_arguments[2] = trained.string();
  const Outcome prune = bertx(prune_arguments);
  ASSERT_EQ(prune.code, 0) << prune.err;
  EXPECT_NEAR(prune.json()["compression_sparsity"].get<double>(), 0.8, 0.005);
  EXPECT_LE(prune.json()["compression_logit_difference"].get<double>(), 1e-5);
  EXPECT_LT(prune.json()["compression_bytes_after"], prune.json()["compression_bytes_before"]);
  EXPECT_GE(prune.json()["eval_accuracy"].get<double>(), 0.8);
  EXPECT_EQ(bertx({"inspect", pruned.string(), "--json"}).json()["kinds"], Json({{"csr", 12}}));
  EXPECT_EQ(bertx({"eval", "--model", pruned.string(), "--validation_file", validation_file}).code, 0);

  // 5. The dense export gives the same answers.
  const fs::path plain = place / "plain";
  ASSERT_EQ(bertx({"prune", "--model", trained.string(), "--sparsity", "0.5", "--output_dir", plain.string(),
                   "--export", "dense"})
                .code,
            0);
  ASSERT_EQ(
      bertx({"prune", "--model", trained.string(), "--sparsity", "0.5", "--output_dir", (place / "native").string()})
          .code,
      0);
  const Process text{"a quite dull story\n", {}, ""};
  const Json from_plain = bertx({"predict", "--model", plain.string()}, text).json();
  const Json from_native = bertx({"predict", "--model", (place / "native").string()}, text).json();
  EXPECT_EQ(bertx({"inspect", plain.string(), "--json"}).json()["kinds"], Json({{"dense", 12}}));
  for (int l = 0; l < 2; ++l) {
    EXPECT_NEAR(from_plain["logits"][l].get<double>(), from_native["logits"][l].get<double>(), 1e-5);
  }
}

TEST_F(ToolsTest, EveryMethodRuns) {
  ASSERT_EQ(bertx(train_arguments("trained", {"--num_train_epochs", "2"})).code, 0);
  for (const char* method : {"movement", "soft_movement", "heads"}) {
    auto arguments =
        train_arguments(method, {"--method", method, "--sparsity", "0.5", "--json", "--num_train_epochs", "2"});
    arguments[0] = "prune";
    arguments[2] = (place / "trained").string();
    const Outcome outcome = bertx(arguments);
    EXPECT_EQ(outcome.code, 0) << method << ": " << outcome.err;
    EXPECT_TRUE(fs::exists(place / method / "compression_results.json")) << method;
    // Scores that begin equal want more steps than these.
    EXPECT_EQ(outcome.err.find("score_start") != std::string::npos, method == std::string("movement")) << outcome.err;
    if (method != std::string("movement")) continue;
    arguments.insert(arguments.end(), {"--score_start", "5", "--overwrite_output_dir", "true"});
    EXPECT_EQ(bertx(arguments).err.find("score_start"), std::string::npos);
  }
  const Outcome without = bertx({"prune", "--model", (place / "trained").string(), "--method", "movement",
                                 "--output_dir", (place / "none").string()});
  EXPECT_EQ(without.code, 2);
  EXPECT_HAS(without.err, "needs labelled texts");
}

TEST_F(ToolsTest, TestFilesArePredicted) {
  write_all(place / "test.tsv", "text\tlabel\nthe film was good .\t\nthe play was awful .\t\n");
  const Outcome outcome = bertx(train_arguments("out", {"--test_file", (place / "test.tsv").string()}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_all(place / "out/predict_results_train.txt"), "index\tprediction\n0\tpositive\n1\tnegative\n");
}

TEST_F(ToolsTest, AGlueTaskByName) {
  std::string train = "sentence\tlabel\n", test = "index\tsentence\n";
  for (int i = 0; i < 48; ++i) train += i % 2 ? "a lovely play\t1\n" : "the story was dull\t0\n";
  for (int i = 0; i < 4; ++i) test += std::to_string(i) + (i % 2 ? "\ta lovely play\n" : "\tthe story was dull\n");
  write_all(place / "glue/SST-2/train.tsv", train);
  write_all(place / "glue/SST-2/dev.tsv", train);
  write_all(place / "glue/SST-2/test.tsv", test);
  const std::string out = (place / "out").string(), data = (place / "glue").string();
  const Outcome trained = bertx({"train", "--model", model, "--task_name", "sst2", "--data_dir", data, "--output_dir",
                                 out, "--do_train", "--do_eval", "--do_predict", "--learning_rate", "2e-3",
                                 "--num_train_epochs", "5", "--max_eval_samples", "30"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Outcome eval = bertx({"eval", "--model", out, "--task_name", "SST-2", "--data_dir", data, "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(eval.json()["eval_accuracy"], 1.0);
  EXPECT_EQ(eval.json()["eval_samples"], 48);
  EXPECT_EQ(figure(out + "/eval_results.json", "eval_samples"), 30);
  const std::string predictions = read_all(out + "/predict_results_sst2.txt");
  EXPECT_EQ(std::count(predictions.begin(), predictions.end(), '\n'), 5) << predictions;
  const Json config = Json::parse(read_all(out + "/config.json"));
  EXPECT_HAS(predictions, "1\t" + config["id2label"]["1"].get<std::string>());
}

TEST_F(ToolsTest, RegressionAndMultiLabelData) {
  std::string numbers = "text,label\n", sets;
  for (int i = 0; i < 32; ++i) {
    const bool good = i % 2 == 0;
    numbers += std::string("the film was ") + (good ? "good" : "bad") + (good ? ",2.5\n" : ",-1.5\n");
    sets += std::string(R"({"text": "a )") + (good ? "lovely" : "poor") + (i % 3 ? " film" : " play") +
            R"(", "label": [)" + (good ? R"("kind")" : "") + (good && i % 3 == 0 ? ", " : "") +
            (i % 3 ? "" : R"("stage")") + "]}\n";
  }
  write_all(place / "numbers.csv", numbers);
  write_all(place / "sets.jsonl", sets);
  for (const auto& [file, key] :
       {std::pair<std::string, std::string>{"numbers.csv", "eval_pearson"}, {"sets.jsonl", "eval_f1_micro"}}) {
    const std::string path = (place / file).string(), out = (place / (file + ".out")).string();
    const Outcome outcome =
        bertx({"train", "--model", model, "--train_file", path, "--validation_file", path, "--output_dir", out,
               "--learning_rate", "2e-3", "--max_seq_length", "16", "--num_train_epochs", "10"});
    ASSERT_EQ(outcome.code, 0) << file << outcome.err;
    EXPECT_GE(figure(out + "/eval_results.json", key), 0.9) << file;
    const Outcome predicted = bertx({"predict", "--model", out}, {"a lovely play\n", {}, ""});
    EXPECT_EQ(predicted.code, 0) << predicted.err;
    EXPECT_EQ(bertx({"eval", "--model", out, "--validation_file", path}).code, 0);
  }
}

TEST_F(ToolsTest, ASignalLeavesACheckpointAndResumingEndsInTheSameModel) {
  const std::vector<std::string> longer{"--max_steps", "1000", "--logging_steps", "1000", "--save_strategy", "no"};
  // 1. Stopped by SIGTERM in the middle.
  const pid_t child = start_bertx(place, train_arguments("stopped", longer));
  bool started = false;
  for (int i = 0; i < 600 && !started; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    started = contains(read_all(place / "stderr"), "training:");
  }
  ASSERT_TRUE(started) << read_all(place / "stderr");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ::kill(child, SIGTERM);
  const int code = wait_for(child);
  if (code == 0) GTEST_SKIP() << "the machine trained 1000 steps before the signal came";
  EXPECT_EQ(code, 143) << read_all(place / "stderr");
  EXPECT_HAS(read_all(place / "stderr"), "--resume_from_checkpoint");
  EXPECT_FALSE(fs::exists(place / "stopped/model.safetensors"));

  // 2. Resumed, beside a run that nobody stopped.
  auto resume = longer;
  resume.insert(resume.end(), {"--resume_from_checkpoint", "true"});
  const Outcome resumed = bertx(train_arguments("stopped", resume));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_HAS(resumed.err, "resumed at step");
  ASSERT_EQ(bertx(train_arguments("whole", longer)).code, 0);
  // EXPECT_TRUE: the files themselves are nothing to print.
  EXPECT_TRUE(read_all(place / "stopped/model.safetensors") == read_all(place / "whole/model.safetensors"));
}

}  // namespace
}  // namespace bertx::test
