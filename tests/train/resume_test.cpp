// A training that is stopped and resumed ends where an uninterrupted one ends, to the last bit.
#include <csignal>
#include <nlohmann/json.hpp>

#include "fixture.h"
#include "train/checkpoint.h"

namespace bertx::test {
namespace {

namespace fs = std::filesystem;

struct Resume : testing::Test {
  std::unique_ptr<Backend> backend = make_cpu_backend();
  std::vector<EncodedExample> examples = separable_examples(50, 21), held_out = separable_examples(16, 22);
  TemporaryDirectory directory;

  TrainData data() const { return {examples, {{held_out, ""}}, LabelKind::single_label, {}, 1}; }
  TrainOptions options(const std::string& name) const {
    TrainOptions options;
    options.output_dir = directory.path() / name;
    options.learning_rate = 2e-3;
    options.weight_decay = 0.01;
    options.warmup_steps = 3;
    options.per_device_train_batch_size = 6;
    options.gradient_accumulation_steps = 2;  // 9 batches: the last update of an epoch has one
    options.num_train_epochs = 3;
    options.logging_steps = 4;
    options.eval_strategy = Evaluate::steps;
    options.eval_steps = 5;
    return options;
  }
  Model new_model() { return make_model(*backend, small_config(0.1f), 9); }

  /// Trains without a stop, and with one after each of `stops`; compares parameters, structure and logs.
  void compare(const std::vector<std::int64_t>& stops, bool with_hook) {
    Model straight = new_model();
    MaskingHook straight_hook;
    const TrainResult whole =
        train(*backend, straight, nullptr, data(), options("straight"), with_hook ? &straight_hook : nullptr);
    ASSERT_EQ(whole.state.step, 15);

    Model resumed = new_model();
    TrainResult parts;
    TrainOptions how = options("resumed");
    for (std::size_t part = 0; part <= stops.size(); ++part) {
      MaskingHook hook;
      Recorder recorder;
      recorder.at_step = [&](const StepReport& report) {
        if (part < stops.size() && report.state.step == stops[part]) request_stop(SIGTERM);
      };
      if (part > 0) {
        how.resume_from_checkpoint = "true";
        resumed =
            make_model(*backend, small_config(0.1f), 1234);  // another one: everything must come from the checkpoint
      }
      parts = train(*backend, resumed, nullptr, data(), how, with_hook ? &hook : nullptr, &recorder);
      clear_pending_signal();
      EXPECT_TRUE(recorder.warnings.empty());
      if (part < stops.size()) {
        EXPECT_EQ(parts.signal, SIGTERM);
        EXPECT_EQ(parts.last_checkpoint.filename(), text("checkpoint-", stops[part]));
      } else if (with_hook) {
        EXPECT_EQ(hook.updates, 15);
      }
    }
    EXPECT_EQ(parts.state.step, 15);
    EXPECT_TRUE(same_bytes(bytes_of(*backend, straight), bytes_of(*backend, resumed)));
    EXPECT_EQ(whole.train_loss, parts.train_loss);
    ASSERT_EQ(whole.log_history.size(), parts.log_history.size());
    for (std::size_t i = 0; i < whole.log_history.size(); ++i) {
      for (const auto& [name, value] : whole.log_history[i]) {
        if (name.find("second") != std::string::npos || name.find("runtime") != std::string::npos) continue;
        EXPECT_EQ(value, figure(parts.log_history[i], name)) << name;
      }
    }
  }
};

TEST_F(Resume, RunsRepeatThemselves) {
  Model one = new_model(), two = new_model(), other = new_model();
  TrainOptions how = options("a");
  train(*backend, one, nullptr, data(), how);
  how.output_dir = directory / "b";
  train(*backend, two, nullptr, data(), how);
  how.output_dir = directory / "c";
  how.seed = 43;
  train(*backend, other, nullptr, data(), how);
  EXPECT_TRUE(same_bytes(bytes_of(*backend, one), bytes_of(*backend, two)));
  EXPECT_FALSE(same_bytes(bytes_of(*backend, one), bytes_of(*backend, other)));
}

TEST_F(Resume, InsideAnEpoch) { compare({7}, false); }
TEST_F(Resume, AtTheEndOfAnEpochWithAnEvaluationDue) { compare({5}, false); }
TEST_F(Resume, AgainAndAgain) { compare({1, 3, 4, 11}, false); }
TEST_F(Resume, AfterTheLastStep) { compare({15}, false); }
TEST_F(Resume, WithAHook) { compare({2, 7}, true); }

TEST_F(Resume, StopsBeforeTheFirstStep) {
  Model model = new_model();
  request_stop(SIGINT);
  const TrainResult result = train(*backend, model, nullptr, data(), options("a"));
  clear_pending_signal();
  EXPECT_EQ(result.signal, SIGINT);
  EXPECT_EQ(result.state.step, 0);
  EXPECT_EQ(result.last_checkpoint.filename(), "checkpoint-0");
}

TEST_F(Resume, InterruptedEvaluationIsDoneAfterwards) {
  Model model = new_model();
  TrainOptions how = options("a");
  Recorder recorder;
  recorder.at_evaluate = [&](std::int64_t done) {
    if (done >= 8) request_stop(SIGINT);
  };
  const TrainResult stopped = train(*backend, model, nullptr, data(), how, nullptr, &recorder);
  clear_pending_signal();
  EXPECT_EQ(stopped.signal, SIGINT);
  EXPECT_EQ(stopped.state.step, 5);
  EXPECT_TRUE(recorder.evaluations.empty());
  recorder.at_evaluate = nullptr;
  recorder.logs.clear();
  how.resume_from_checkpoint = stopped.last_checkpoint;
  train(*backend, model, nullptr, data(), how, nullptr, &recorder);
  ASSERT_EQ(recorder.evaluations.size(), 3u);
  EXPECT_EQ(figure(recorder.logs.front(), "step"), 5);
}

TEST_F(Resume, AFinishedTrainingIsOnlyFinishedAgain) {
  Model model = new_model(), again = new_model();
  TrainOptions how = options("a");
  how.save_steps = 15;
  train(*backend, model, nullptr, data(), how);
  how.resume_from_checkpoint = how.output_dir;  // a directory of checkpoints
  Recorder recorder;
  const TrainResult result = train(*backend, again, nullptr, data(), how, nullptr, &recorder);
  EXPECT_TRUE(recorder.steps.empty());
  EXPECT_EQ(result.state.step, 15);
  EXPECT_TRUE(same_bytes(bytes_of(*backend, model), bytes_of(*backend, again)));
}

// ---- signals --------------------------------------------------------------------------------------------------------

TEST_F(Resume, ARealSignalWritesACheckpoint) {
  const SignalScope scope;
  Model model = new_model();
  Recorder recorder;
  recorder.at_step = [](const StepReport& report) {
    if (report.state.step == 4) raise(SIGTERM);
  };
  const TrainResult result = train(*backend, model, nullptr, data(), options("a"), nullptr, &recorder);
  EXPECT_EQ(result.signal, SIGTERM);
  EXPECT_EQ(recorder.steps.size(), 4u);
  EXPECT_NO_THROW(verify_checkpoint(result.last_checkpoint));
  clear_pending_signal();
}

TEST_F(Resume, EvaluationStopsToo) {
  Recorder recorder;
  recorder.at_evaluate = [](std::int64_t) { request_stop(SIGINT); };
  const Model model = new_model();
  const EvalResult result = evaluate(*backend, model, held_out, {LabelKind::single_label, {}, 1, 4}, &recorder);
  clear_pending_signal();
  EXPECT_EQ(result.signal, SIGINT);
}

TEST(SignalsDeathTest, ASecondSignalEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const SignalScope scope;
        raise(SIGINT);
        if (pending_signal() != SIGINT) _exit(1);
        raise(SIGTERM);
        _exit(2);
      },
      testing::KilledBySignal(SIGTERM), "");
}

TEST(Signals, HandlersComeBack) {
  {
    const SignalScope scope;
    struct sigaction now {};
    sigaction(SIGINT, nullptr, &now);
    EXPECT_NE(now.sa_handler, SIG_DFL);
  }
  struct sigaction now {};
  sigaction(SIGINT, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace bertx::test
