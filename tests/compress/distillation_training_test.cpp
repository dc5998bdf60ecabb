// Distillation inside of a training: resumed bit for bit, its memory planned to the byte, answers kept in a file; and a
// student that learns without labels.
#include <csignal>
#include <fstream>

#include "bertx/compress.h"
#include "distillation_fixture.h"
#include "train/fixture.h"
#include "train/update_step.h"

namespace bertx::test {
namespace {

namespace fs = std::filesystem;
using compress::Distillation;

Config deep_config(const std::string& kind) {
  const bool wider = kind == "tinybert" || kind == "minilm";
  Config config = make_config(4, wider ? 24 : 16, 2, 32, 40, 16);
  const Config like = small_config(0.1f);
  config.head = like.head, config.problem = like.problem, config.labels = like.labels;
  config.initializer_range = 0.15f;
  return config;
}

struct Pupil : testing::TestWithParam<std::string> {
  std::unique_ptr<Backend> backend = make_cpu_backend();
  std::vector<EncodedExample> examples = separable_examples(50, 21);
  TemporaryDirectory directory;

  TrainData data() const { return {examples, {}, LabelKind::single_label, {}, 1}; }
  TrainOptions options(const std::string& name) const {
    TrainOptions options;
    options.output_dir = directory.path() / name;
    options.learning_rate = 2e-3;
    options.per_device_train_batch_size = 6;
    options.gradient_accumulation_steps = 2;
    options.num_train_epochs = 2;
    options.logging_steps = 3;
    return options;
  }
  Distillation how(const std::string& kind) const {
    Distillation how;
    how.kind = kind;
    how.cache = directory.path() / "answers";
    return how;
  }
  std::unique_ptr<Objective> teacher(const Distillation& how) {
    return compress::make_distillation(*backend, make_model(*backend, deep_config(how.kind), 77), "teacher", how);
  }
  Model new_model() { return make_model(*backend, small_config(0.1f), 9); }
};

TEST_P(Pupil, ResumesBitForBit) {
  Model straight = new_model(), resumed = new_model();
  const TrainResult whole =
      train(*backend, straight, nullptr, data(), options("straight"), nullptr, nullptr, teacher(how(GetParam())).get());
  ASSERT_EQ(whole.state.step, 10);
  TrainOptions again = options("resumed");
  Recorder recorder;
  recorder.at_step = [](const StepReport& report) {
    if (report.state.step == 4) request_stop(SIGTERM);  // between two lines of the log
  };
  train(*backend, resumed, nullptr, data(), again, nullptr, &recorder, teacher(how(GetParam())).get());
  clear_pending_signal();
  again.resume_from_checkpoint = "true";
  Distillation other_start = how(GetParam());
  other_start.seed = 4711;  // projections must come from the checkpoint
  resumed = make_model(*backend, small_config(0.1f), 1234);
  const TrainResult parts =
      train(*backend, resumed, nullptr, data(), again, nullptr, nullptr, teacher(other_start).get());
  EXPECT_TRUE(same_bytes(bytes_of(*backend, straight), bytes_of(*backend, resumed)));
  EXPECT_EQ(whole.train_loss, parts.train_loss);
  ASSERT_EQ(whole.log_history.size(), parts.log_history.size());
  for (std::size_t i = 0; i < 3; ++i) {
    for (const auto& [name, value] : whole.log_history[i]) EXPECT_EQ(value, figure(parts.log_history[i], name)) << name;
    EXPECT_GT(figure(parts.log_history[i], "loss_teacher"), 0);
  }
  EXPECT_EQ(fs::exists(again.output_dir / "checkpoint-4/objective.safetensors"), GetParam() == "tinybert");
}

TEST_P(Pupil, TakesTheMemoryThatIsPlanned) {
  for (const char* name : {"reference", "cpu"}) {
    for (const bool checkpointing : {false, true}) {
      backend = make_backend(name);
      Model model = new_model();
      TrainOptions how_to = options("");
      how_to.gradient_checkpointing = checkpointing;
      const auto objective = teacher(how(GetParam()));
      prepare_for_training(*backend, model, how_to, nullptr, {}, objective.get());
      const TrainMemory plan = plan_memory(*backend, model, examples, LabelKind::single_label, how_to, objective.get());
      EXPECT_GT(plan.objective, 4 * 16 * 16 * size_of(backend->real()));
      UpdateStep step(*backend, model, how_to, objective.get());
      ProgressObserver silent;
      objective->start(*backend, examples, silent);
      const Sampler sampler(50, how_to.seed);
      TrainState state;
      for (; state.step < 9; ++state.step) {
        const std::vector<std::int64_t> order = sampler.epoch(0);
        const auto batch = [&](std::int64_t) {
          const auto first = static_cast<std::size_t>(state.step) * 6;
          return collate(examples, std::span(order).subspan(first, std::min<std::size_t>(6, 50 - first)),
                         LabelKind::single_label, 2);
        };
        step.run(state, 1, batch, nullptr);
      }
      EXPECT_EQ(plan.activations, step.arena().peak_bytes()) << name << checkpointing;
      std::size_t gradients = 0, moments = 0;
      const Visit add = [&](const std::string&, Parameter& p) { gradients += p.grad.buffer.bytes; };
      model.visit(add);
      objective->visit(add);
      for (const Optimizer::Entry& entry : step.optimizer().entries())
        moments += entry.first_moment.buffer.bytes + entry.second_moment.buffer.bytes;
      EXPECT_EQ(plan.gradients, gradients);
      EXPECT_EQ(plan.moments, moments);
    }
  }
}

TEST_P(Pupil, LearnsWithoutLabels) {
  // The teacher learns the task; the labels that the student is given are all wrong.
  Model master = make_model(*backend, deep_config(GetParam()), 77);
  TrainOptions long_run;
  long_run.learning_rate = 2e-3;
  long_run.num_train_epochs = 15;
  train(*backend, master, nullptr, data(), long_run);
  const std::vector<EncodedExample> held_out = separable_examples(60, 22);
  const auto accuracy = [&](const Model& model) {
    return evaluate(*backend, model, held_out, {LabelKind::single_label, {}, 1, 8}).metrics.values.front().second;
  };
  ASSERT_GT(accuracy(master), 0.95);
  master.drop_gradients();
  for (EncodedExample& example : examples) example.label = 1 - example.label;
  Distillation gently = how(GetParam());
  gently.hard_weight = 0;
  if (GetParam() == "pkd") gently.hidden_weight = 1;
  Model student = new_model();
  const auto objective = compress::make_distillation(*backend, std::move(master), "teacher", gently);
  long_run.num_train_epochs = 20;
  train(*backend, student, nullptr, data(), long_run, nullptr, nullptr, objective.get());
  EXPECT_GT(accuracy(student), 0.95);
}

TEST_P(Pupil, GoesWithPruning) {
  compress::Recipe recipe;
  recipe.method = "movement";
  recipe.sparsity = 0.5;
  const auto hook = compress::make_compressor(recipe);
  Model model = new_model();
  train(*backend, model, nullptr, data(), options("pruned"), hook.get(), nullptr, teacher(how(GetParam())).get());
  EXPECT_NEAR(compress::report(*backend, model).sparsity(), 0.5, 0.01);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Pupil, testing::ValuesIn(distillation_names()),
                         [](const auto& test) { return test.param; });

using OnePupil = Pupil;

TEST_F(OnePupil, GoesOnUnderTheSameTeacherOnly) {
  TrainOptions how_to = options("a");
  how_to.save_steps = 5;
  Model model = new_model();
  train(*backend, model, nullptr, data(), how_to, nullptr, nullptr, teacher(how("response")).get());
  how_to.resume_from_checkpoint = "true";
  const auto refused = [&](Objective* objective) {
    const Thrown thrown =
        thrown_by([&] { train(*backend, model, nullptr, data(), how_to, nullptr, nullptr, objective); });
    EXPECT_EQ(thrown.kind, ErrorKind::usage);
    EXPECT_NAMES(thrown, "it was trained on distillation response");
    return thrown.text;
  };
  EXPECT_NE(refused(nullptr).find("now on the labels alone"), std::string::npos);
  Distillation hotter = how("response");
  hotter.temperature = 4;
  EXPECT_NE(refused(teacher(hotter).get()).find("temperature 4"), std::string::npos);
  refused(
      compress::make_distillation(*backend, make_model(*backend, deep_config("response"), 78), "other", how("response"))
          .get());
}

// ---- answers in a file
// --------------------------------------------------------------------------------------------------

/// Counts the texts that a teacher reads.
struct Listener : Recorder {
  std::int64_t read = 0;
  Listener() {
    at_evaluate = [this](std::int64_t done) { read = done; };
  }
};

struct KeptAnswers : Pupil {
  /// The loss of the first texts by what the teacher has answered.
  double answered(Listener& listener, const std::string& backend_name = "cpu") {
    backend = make_backend(backend_name);
    Model student = new_model();
    const auto objective = teacher(how("response"));
    objective->begin(*backend, student);
    objective->start(*backend, examples, listener);
    const std::vector<std::int64_t> first{0, 1, 2, 3};
    Arena arena(*backend);
    Exec exec{*backend, arena};
    Model::Saved saved;
    return objective->run(exec, student, collate(examples, first, LabelKind::single_label, 2), saved, 1);
  }
  fs::path file() const { return fs::directory_iterator(directory.path() / "answers")->path(); }
};

TEST_F(KeptAnswers, AreReadTheSecondTime) {
  Listener first, second, changed, other_backend;
  const double loss = answered(first);
  EXPECT_EQ(first.read, 50);
  EXPECT_EQ(loss, answered(second));
  EXPECT_EQ(second.read, 0);
  EXPECT_TRUE(second.warnings.empty());
  answered(other_backend, "reference");  // in double it is another teacher
  EXPECT_EQ(other_backend.read, 50);
  examples.front().ids.push_back(3);
  examples.front().types.push_back(0);
  answered(changed);
  EXPECT_EQ(changed.read, 50);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path() / "answers"), {}), 3);
}

TEST_F(KeptAnswers, AreNotBelievedWhenDamaged) {
  Listener first;
  const double loss = answered(first);
  const std::string good = read_bytes(file());
  std::string flipped = good, cut = good.substr(0, good.size() - 8);
  flipped[flipped.size() - 3] ^= 1;
  for (const std::string& bad : {flipped, cut, std::string("none")}) {
    write_bytes(file(), bad);
    Listener again;
    EXPECT_EQ(loss, answered(again));
    EXPECT_EQ(again.read, 50);
    ASSERT_EQ(again.warnings.size(), 1u);
    EXPECT_NE(again.warnings[0].find(file().filename().string()), std::string::npos) << again.warnings[0];
    EXPECT_EQ(read_bytes(file()), good);
  }
}

}  // namespace
}  // namespace bertx::test
