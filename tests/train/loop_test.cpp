// The whole loop: a small model really learns; logs, evaluation, best model, limits, refusals.
#include <cmath>
#include <nlohmann/json.hpp>

#include "fixture.h"
#include "train/checkpoint.h"
#include "train/directory_lock.h"

namespace bertx::test {
namespace {

namespace fs = std::filesystem;

struct Loop : testing::Test {
  std::unique_ptr<Backend> backend = make_cpu_backend();
  std::vector<EncodedExample> examples = separable_examples(64, 11), held_out = separable_examples(32, 12);
  TemporaryDirectory directory;
  Recorder recorder;
  TrainOptions options;
  TrainData data;

  void SetUp() override {
    data.train = examples;
    data.eval = {{held_out, ""}};
    options.output_dir = directory / "out";
    options.learning_rate = 5e-3;
    options.num_train_epochs = 1;
    options.logging_steps = 0;
  }
  Model new_model() { return make_model(*backend, small_config(), 1); }
  TrainResult run(Model& model, TrainHook* hook = nullptr) {
    return train(*backend, model, nullptr, data, options, hook, &recorder);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& [step, path] : list_checkpoints(options.output_dir)) found.push_back(path.filename().string());
    return found;
  }
};

TEST_F(Loop, LearnsSeparableTexts) {
  Model model = new_model();
  const EvalOptions how{LabelKind::single_label, {}, 1, 16};
  const EvalResult before = evaluate(*backend, model, held_out, how);
  options.num_train_epochs = 6;
  options.logging_steps = 8;
  options.warmup_ratio = 0.1;
  const TrainResult result = run(model);
  const EvalResult after = evaluate(*backend, model, held_out, how);
  EXPECT_LT(*after.loss, 0.5 * *before.loss);
  EXPECT_GE(after.metrics.values.front().second, 0.95);
  EXPECT_EQ(result.state.step, 48);
  EXPECT_EQ(result.signal, 0);
  ASSERT_EQ(recorder.logs.size(), 7u);  // six, and the summary
  EXPECT_LT(figure(recorder.logs[5], "loss"), 0.5 * figure(recorder.logs[0], "loss"));
  EXPECT_DOUBLE_EQ(figure(recorder.logs[0], "epoch"), 1.0);
  EXPECT_EQ(figure(recorder.logs[0], "step"), 8);
  EXPECT_GT(figure(recorder.logs[0], "grad_norm"), 0.0);
  EXPECT_DOUBLE_EQ(figure(recorder.logs[0], "learning_rate"), 5e-3 * (48 - 7) / (48 - 5));

  // What was written is the trained model.
  Model loaded = load_model(*backend, options.output_dir);
  EXPECT_TRUE(same_bytes(bytes_of(*backend, model), bytes_of(*backend, loaded)));
  EXPECT_TRUE(names().empty());
  const auto state = nlohmann::json::parse(read_bytes(options.output_dir / "trainer_state.json"));
  EXPECT_EQ(state["global_step"], 48);
  EXPECT_EQ(state["log_history"].size(), 7u);
  EXPECT_TRUE(state["log_history"][0]["step"].is_number_integer());
  model.visit([](const std::string& path, Parameter& p) { EXPECT_TRUE(p.gradient().empty()) << path; });
}

TEST_F(Loop, LoggedLossIsTheMeanOfItsSteps) {
  Model model = new_model();
  options.logging_steps = 3;
  options.gradient_accumulation_steps = 2;
  options.num_train_epochs = 2;
  const TrainResult result = run(model);
  ASSERT_EQ(recorder.steps.size(), 8u);
  EXPECT_NEAR(figure(recorder.logs[1], "loss"),
              (recorder.steps[3].loss + recorder.steps[4].loss + recorder.steps[5].loss) / 3, 1e-12);
  double sum = 0;
  for (const StepReport& step : recorder.steps) sum += step.loss;
  EXPECT_NEAR(result.train_loss, sum / 8, 1e-12);
  EXPECT_DOUBLE_EQ(recorder.steps[0].state.epoch, 0.25);
}

TEST_F(Loop, MaxStepsEndInsideAnEpoch) {
  Model model = new_model();
  options.max_steps = 11;
  options.eval_strategy = Evaluate::epoch;
  options.save_at_epoch = true;
  const TrainResult result = run(model);
  EXPECT_EQ(result.state.step, 11);
  EXPECT_DOUBLE_EQ(result.state.epoch, 1.375);
  EXPECT_EQ(names(), (std::vector<std::string>{"checkpoint-8", "checkpoint-11"}));
  EXPECT_EQ(recorder.evaluations.size(), 2u);
}

TEST_F(Loop, FrozenEmbeddingsStay) {
  Model model = new_model();
  const auto before = bytes_of(*backend, model);
  options.freeze_embeddings = true;
  options.weight_decay = 0.1;
  run(model);
  auto after = bytes_of(*backend, model);
  for (const auto& [path, bytes] : before) {
    EXPECT_EQ(bytes == after[path], path.find(".embeddings.") != std::string::npos) << path;
  }
}

TEST_F(Loop, LimitKeepsTheNewest) {
  Model model = new_model();
  options.save_steps = 2;
  options.save_total_limit = 2;
  run(model);
  EXPECT_EQ(names(), (std::vector<std::string>{"checkpoint-6", "checkpoint-8"}));
  EXPECT_EQ(recorder.checkpoints.size(), 4u);
}

TEST_F(Loop, TheBestModelSurvivesAndIsLoaded) {
  Model model = new_model();
  options.num_train_epochs = 2;
  recorder.at_step = [&](const StepReport& report) {  // ruined from here on, so that the best one is not the last
    if (report.state.step == 12) backend->fill(model.head.classifier->bias->tensor().row_range(0, 1), 50.0);
  };
  options.save_steps = 1;
  options.save_total_limit = 1;
  options.eval_strategy = Evaluate::steps;
  options.eval_steps = 1;
  options.load_best_model_at_end = true;
  const TrainResult result = run(model);
  std::size_t best = 0;
  for (std::size_t i = 1; i < recorder.evaluations.size(); ++i) {
    if (figure(recorder.evaluations[i], "eval_loss") < figure(recorder.evaluations[best], "eval_loss")) best = i;
  }
  ASSERT_LT(best, 15u) << "the last model is the best: the test shows nothing";
  EXPECT_EQ(*result.best_metric, figure(recorder.evaluations[best], "eval_loss"));
  const std::string best_name = "checkpoint-" + std::to_string(best + 1);
  EXPECT_EQ(result.best_checkpoint.filename(), best_name);
  EXPECT_EQ(names(), (std::vector<std::string>{best_name, "checkpoint-16"}));
  Model saved = load_model(*backend, options.output_dir);
  EXPECT_TRUE(same_bytes(bytes_of(*backend, model), bytes_of(*backend, saved)));
  const EvalResult again = evaluate(*backend, saved, held_out, {LabelKind::single_label, {}, 1, 8});
  EXPECT_EQ(*again.loss, *result.best_metric);
}

TEST_F(Loop, ANewBestIsSavedWithoutSaveSteps) {
  Model model = new_model();
  options.num_train_epochs = 2;
  options.eval_strategy = Evaluate::epoch;
  options.load_best_model_at_end = true;
  options.metric_for_best_model = "eval_accuracy";
  const TrainResult result = run(model);
  EXPECT_FALSE(result.best_checkpoint.empty());
  EXPECT_TRUE(fs::exists(result.best_checkpoint));
}

TEST_F(Loop, SetsHaveSuffixes) {
  Model model = new_model();
  data.eval.push_back({examples, "_mm"});
  options.eval_strategy = Evaluate::epoch;
  run(model);
  ASSERT_EQ(recorder.evaluations.size(), 2u);
  EXPECT_EQ(figure(recorder.evaluations[0], "eval_samples"), 32);
  EXPECT_EQ(figure(recorder.evaluations[1], "eval_samples_mm"), 64);
}

TEST_F(Loop, TheTokenizerAndEventsAreWrittenToo) {
  std::vector<std::string> vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  while (vocabulary.size() < 40) vocabulary.push_back("w" + std::to_string(vocabulary.size()));
  const Tokenizer tokenizer(vocabulary);
  Model model = new_model();
  options.save_steps = 8;
  options.logging_steps = 4;
  options.tensorboard = true;
  train(*backend, model, &tokenizer, data, options, nullptr, &recorder);
  for (const fs::path& written : {options.output_dir, options.output_dir / "checkpoint-8"}) {
    EXPECT_EQ(Tokenizer::load(written).size(), 40) << written;
  }
  EXPECT_NE(read_bytes(options.output_dir / "checkpoint-8" / kManifest).find("vocab.txt"), std::string::npos);
  const fs::directory_iterator events(options.output_dir / "runs");
  ASSERT_NE(events, fs::directory_iterator());
  EXPECT_NE(read_bytes(events->path()).find("train/learning_rate"), std::string::npos);
}

TEST_F(Loop, AHookTakesPart) {
  Model model = new_model();
  MaskingHook hook;
  options.logging_steps = 4;
  run(model, &hook);
  EXPECT_EQ(hook.updates, 8);
  EXPECT_TRUE(hook.finished);
  EXPECT_EQ(figure(recorder.logs[1], "updates"), 8);
  EXPECT_GT(recorder.steps[0].loss, 0.25) << "the penalty is not in the loss";
}

TEST_F(Loop, StopsBeforeAnUpdateThatIsNotFinite) {
  Model model = new_model();
  options.save_steps = 2;
  recorder.at_step = [&](const StepReport& report) {
    if (report.state.step == 3) backend->fill(model.layers[1].ffn_out.bias->tensor().row_range(5, 1), std::nan(""));
  };
  const Thrown thrown = thrown_by([&] { run(model); });
  EXPECT_EQ(thrown.kind, ErrorKind::numeric);
  EXPECT_NAMES(thrown, "step 4");
  EXPECT_NAMES(thrown, "bert.encoder.layer.1.output.dense.bias");
  model.visit([&](const std::string& path, Parameter& p) {
    if (path == "classifier.bias") {
      for (const double value : values_of(*backend, p.tensor())) EXPECT_TRUE(std::isfinite(value)) << "it was updated";
    }
  });
  EXPECT_EQ(names(), (std::vector<std::string>{"checkpoint-2"}));
}

TEST_F(Loop, NamesAGradientThatIsNotFinite) {
  struct BadGradient : TrainHook {
    double after_backward(Backend& b, Model& model, const TrainState& state) override {
      if (state.step == 2) b.fill(model.layers[0].query.bias->gradient().row_range(0, 1), HUGE_VAL);
      return 0;
    }
  } hook;
  Model model = new_model();
  const Thrown thrown = thrown_by([&] { run(model, &hook); });
  EXPECT_EQ(thrown.kind, ErrorKind::numeric);
  EXPECT_NAMES(thrown, "step 3");
  EXPECT_NAMES(thrown, "bert.encoder.layer.0.attention.self.query.bias");
  EXPECT_EQ(recorder.steps.size(), 2u);
}

TEST_F(Loop, RefusesWhatItCannotTrainOn) {
  Model model = new_model();
  const auto refused = [&](ErrorKind kind, const char* part) {
    const Thrown thrown = thrown_by([&] { run(model); });
    EXPECT_EQ(thrown.kind, kind) << thrown.text;
    EXPECT_NAMES(thrown, part);
    SetUp();
  };
  std::vector<EncodedExample> bad = examples;
  data.train = bad;
  bad[7].ids[1] = 40;
  refused(ErrorKind::bad_input, "example 7: token id: found 40, expected 0 to 39");
  bad = examples;
  data.train = bad;
  bad[3].label = 2;
  refused(ErrorKind::bad_input, "example 3: label: found 2, expected 0 to 1");
  bad[3] = examples[3];
  data.train = bad;
  bad[2].ids.assign(17, 5);
  refused(ErrorKind::bad_input, "number of tokens: found 17, expected 1 to 16");
  data.train = {};
  refused(ErrorKind::bad_input, "found no examples");
  data.kind = LabelKind::regression;
  refused(ErrorKind::usage, "found regression labels, expected single_label");
  data.kind = LabelKind::single_label;
  options.metric_for_best_model = "bleu";
  refused(ErrorKind::usage, "metric_for_best_model");
  options.metric_for_best_model = "loss";
  data.eval.clear();
  options.eval_strategy = Evaluate::epoch;
  refused(ErrorKind::usage, "validation data");
}

TEST_F(Loop, AFreshStartDoesNotTouchOtherCheckpoints) {
  Model model = new_model();
  options.save_steps = 4;
  run(model);
  const Thrown thrown = thrown_by([&] { run(model); });
  EXPECT_EQ(thrown.kind, ErrorKind::usage);
  EXPECT_NAMES(thrown, "checkpoint-4");
  EXPECT_EQ(names().size(), 2u);
  options.overwrite_output_dir = true;
  options.save_steps = 3;
  run(model);
  EXPECT_EQ(names(), (std::vector<std::string>{"checkpoint-3", "checkpoint-6", "checkpoint-8"}));
}

TEST_F(Loop, OneTrainingPerDirectory) {
  Model model = new_model();
  const DirectoryLock other(options.output_dir);
  const Thrown thrown = thrown_by([&] { run(model); });
  EXPECT_EQ(thrown.kind, ErrorKind::io);
  EXPECT_NAMES(thrown, "another process");
}

TEST_F(Loop, AFileInPlaceOfTheDirectoryIsAnIoError) {
  Model model = new_model();
  write_bytes(options.output_dir, "text");
  EXPECT_EQ(thrown_by([&] { run(model); }).kind, ErrorKind::io);
}

}  // namespace
}  // namespace bertx::test
