// Flags and configuration files: every value that makes no sense is named with what was found and what was expected.
#include "command.h"

namespace bertx::test {
namespace {

struct BadFlag {
  const char *flag, *value;
};

TEST_F(ToolsTest, ValuesOutOfRange) {
  const BadFlag bad[] = {{"learning_rate", "0"},
                         {"learning_rate", "-1"},
                         {"learning_rate", "nan"},
                         {"learning_rate", "inf"},
                         {"learning_rate", "1e999"},
                         {"learning_rate", "1e-5x"},
                         {"learning_rate", "0,001"},
                         {"learning_rate", ""},
                         {"per_device_train_batch_size", "0"},
                         {"per_device_train_batch_size", "-3"},
                         {"per_device_train_batch_size", "9223372036854775808"},
                         {"per_device_train_batch_size", "8.5"},
                         {"per_device_eval_batch_size", "0"},
                         {"max_seq_length", "2"},
                         {"max_seq_length", "41"},
                         {"warmup_ratio", "1.5"},
                         {"num_train_epochs", "0"},
                         {"num_train_epochs", "-1"},
                         {"max_steps", "0"},
                         {"gradient_accumulation_steps", "0"},
                         {"lr_scheduler_type", "polynomial"},
                         {"eval_strategy", "sometimes"},
                         {"log_level", "loud"},
                         {"threads", "-2"},
                         {"seed", "-1"},
                         {"load_best_model_at_end", "maybe"},
                         {"do_train", "false"}};
  for (const BadFlag& item : bad) {
    const Outcome outcome = bertx(train_arguments("out", {std::string("--") + item.flag + "=" + item.value}));
    EXPECT_EQ(outcome.code, 2) << item.flag << "=" << item.value << ": " << outcome.err;
    EXPECT_HAS(outcome.err, item.flag);
  }
  EXPECT_FALSE(fs::exists(place / "out/model.safetensors"));
}

TEST_F(ToolsTest, SparsityBelowOne) {
  for (const char* value : {"1.0", "1.1", "-0.1", "nan"}) {
    const Outcome outcome =
        bertx({"prune", "--model_name_or_path", model, "--sparsity", value, "--output_dir", (place / "out").string()});
    EXPECT_EQ(outcome.code, 2) << value;
    EXPECT_HAS(outcome.err, "--sparsity: found '" + std::string(value) + "'; expected");
  }
}

TEST_F(ToolsTest, OutputThatIsTheInputOrCannotBeWritten) {
  const Outcome same = bertx(train_arguments("model"));
  EXPECT_EQ(same.code, 2);
  EXPECT_HAS(same.err, "--output_dir");
  EXPECT_EQ(bertx({"prune", "--model", model, "--output_dir", model + "/../model/."}).code, 2);
  write_all(place / "file", "x");
  const Outcome below_file = bertx(train_arguments("file/out"));
  EXPECT_EQ(below_file.code, 4);
  EXPECT_HAS(below_file.err, "file/out");
  EXPECT_EQ(bertx({"prune", "--model", model, "--output_dir", "/proc/bertx"}).code, 4);
}

TEST_F(ToolsTest, DataThatIsMissingOrContradicts) {
  const std::string out = (place / "out").string();
  EXPECT_EQ(bertx({"train", "--model", model, "--output_dir", out}).code, 2);
  const Outcome task =
      bertx({"train", "--model", model, "--output_dir", out, "--task_name", "sst3", "--data_dir", "x"});
  EXPECT_EQ(task.code, 2);
  EXPECT_HAS(task.err, "did you mean 'sst2'?");
  EXPECT_EQ(bertx({"train", "--model", model, "--output_dir", out, "--task_name", "sst2"}).code, 2);
  EXPECT_EQ(bertx(train_arguments("out", {"--train_file", (place / "none.tsv").string()})).code, 4);
  write_all(place / "bad.tsv", "text\tlabel\nfine\n");
  const Outcome short_row = bertx(train_arguments("out", {"--train_file", (place / "bad.tsv").string()}));
  EXPECT_EQ(short_row.code, 3);
  EXPECT_HAS(short_row.err, "bad.tsv");
  EXPECT_EQ(bertx({"eval", "--model", model, "--validation_file", validation_file}).code, 3);  // it has no head
}

TEST_F(ToolsTest, HyphensAliasesAndBooleans) {
  const Outcome outcome = bertx({"train", "--model-name-or-path", model, "--train-file=" + train_file, "--output-dir",
                                 (place / "out").string(), "--max-seq-length", "16", "--evaluation-strategy", "no",
                                 "--do-eval", "False", "--dry-run"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part : {"layer 1: 4 heads of 8", "parameters:", "multiplies:", "FLOPs:", "memory:", "weights ",
                           "activations ", "steps: 24"}) {
    EXPECT_HAS(outcome.out, part);
  }
  EXPECT_FALSE(fs::exists(place / "out"));
}

TEST_F(ToolsTest, ADryRunCountsMemoryByKind) {
  const auto plan = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "prune",        "--model_name_or_path",   model,       "--train_file", train_file,
        "--output_dir", (place / "out").string(), "--dry_run", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = bertx(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  const Json magnitude = plan({"--method", "magnitude"}), movement = plan({"--method", "movement"});
  const Json small = plan({"--method", "movement", "--gradient_checkpointing"});
  for (const Json* json : {&magnitude, &movement, &small}) {
    const Json& memory = json->at("memory");
    EXPECT_EQ(memory.at("moments"), 2 * memory.at("gradients").get<std::int64_t>());
    EXPECT_GT(memory.at("activations"), 0);
    EXPECT_EQ(json->at("model").at("layers").size(), 2u);
  }
  // The scores of movement pruning have gradients and moments of their own; checkpointing spares activations only.
  EXPECT_GT(movement.at("memory").at("gradients"), magnitude.at("memory").at("gradients"));
  EXPECT_LT(small.at("memory").at("activations"), movement.at("memory").at("activations"));
  EXPECT_EQ(small.at("memory").at("moments"), movement.at("memory").at("moments"));

  const Outcome at_once =
      bertx({"prune", "--model_name_or_path", model, "--output_dir", (place / "out").string(), "--dry_run"});
  EXPECT_EQ(at_once.code, 0) << at_once.err;
  EXPECT_HAS(at_once.out, "pruned at once");
  EXPECT_FALSE(fs::exists(place / "out"));
}

TEST_F(ToolsTest, AConfigurationFileHoldsAllFlagsAndFlagsOverrideIt) {
  Json config{{"model_name_or_path", model},
              {"train_file", train_file},
              {"output_dir", (place / "out").string()},
              {"per_device_train_batch_size", 16},
              {"num_train_epochs", 2},
              {"max_seq_length", 16},
              {"dry_run", true},
              {"validation_file", nullptr}};
  const std::string path = (place / "config.json").string();
  write_all(path, config.dump());
  EXPECT_HAS(bertx({"train", path}).out, "steps: 8 ");
  EXPECT_HAS(bertx({"train", path, "--num_train_epochs", "3"}).out, "steps: 12 ");

  config["learnin_rate"] = 1;
  write_all(path, config.dump());
  const Outcome unknown = bertx({"train", path});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_HAS(unknown.err, "config.json: learnin_rate");
  EXPECT_HAS(unknown.err, "did you mean 'learning_rate'?");

  config.erase("learnin_rate");
  config["learning_rate"] = "fast";
  write_all(path, config.dump());
  const Outcome wrong = bertx({"train", path});
  EXPECT_EQ(wrong.code, 3);
  EXPECT_HAS(wrong.err, "learning_rate: found 'fast'; expected a number above 0");

  for (const char* text : {"", "[]", "{\"seed\": 1, \"seed\": 2}", "{\"seed\": {}}", "{"}) {
    write_all(path, text);
    EXPECT_EQ(bertx({"train", path}).code, 3) << text;
  }
  EXPECT_EQ(bertx({"train", (place / "none.json").string()}).code, 4);
}

TEST_F(ToolsTest, NumbersReadTheSameInALocaleWithDecimalCommas) {
  const std::string make = "localedef -i de_DE -f UTF-8 " + (place / "de_DE.UTF-8").string() + " >/dev/null 2>&1";
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "localedef cannot make a German locale on this machine";
  const Process german{"the film was good\n",
                       {{"LOCPATH", place.path().string()}, {"LC_ALL", "de_DE.UTF-8"}, {"LANG", "de_DE.UTF-8"}},
                       ""};
  EXPECT_EQ(bertx(train_arguments("out", {"--learning_rate", "0,5"}), german).code, 2);
  const Outcome trained = bertx(train_arguments("out", {"--learning_rate", "0.5e-3", "--max_steps", "2"}), german);
  EXPECT_EQ(trained.code, 0) << trained.err;
  const Outcome predicted = bertx({"predict", "--model", (place / "out").string()}, german);
  EXPECT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_NO_THROW(predicted.json());
}

}  // namespace
}  // namespace bertx::test
