#include "common/training.h"

#include <algorithm>
#include <csignal>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/log.h"
#include "common/progress.h"
#include "common/text.h"

namespace bertx::tools {

// --- flags ----------------------------------------------------------------------------------------------------

namespace {

constexpr std::int64_t kManySteps = 1ll << 40;

void add_schedule_flags(Flags& flags, TrainFlags& train) {
  TrainOptions& o = train.options;
  flags.group("Training")
      .number("learning_rate", &o.learning_rate, Range::above(0, 1), "peak of the schedule")
      .number("num_train_epochs", &o.num_train_epochs, Range::above(0, 1e6), "passes over the data")
      .integer("max_steps", &o.max_steps, -1, kManySteps, "updates; overrides the epochs where it is above 0")
      .integer("per_device_train_batch_size", &o.per_device_train_batch_size, 1, 65536, "texts at a time")
      .alias("train_batch_size")
      .integer("per_device_eval_batch_size", &o.per_device_eval_batch_size, 1, 65536, "texts at a time")
      .alias("eval_batch_size")
      .integer("gradient_accumulation_steps", &o.gradient_accumulation_steps, 1, 65536, "batches of one update")
      .integer("warmup_steps", &o.warmup_steps, 0, kManySteps, "updates until the peak")
      .number("warmup_ratio", &o.warmup_ratio, Range::between(0, 1), "the same as a share of all updates")
      .choice("lr_scheduler_type", &train.lr_scheduler_type,
              {"linear", "constant", "constant_with_warmup", "cosine", "sawtooth"}, "after the warm-up")
      .number("sawtooth_epochs", &o.sawtooth_epochs, Range::above(0, 1e6), "sawtooth: epochs from peak to peak")
      .number("sawtooth_floor", &o.sawtooth_floor, Range::between(0, 1), "sawtooth: share of the peak it falls to")
      .number("weight_decay", &o.weight_decay, Range::between(0, 1), "of matrices, not of biases and LayerNorm")
      .number("adam_beta1", &o.adam_beta1, Range::below(0, 1), "decay of the first moment")
      .number("adam_beta2", &o.adam_beta2, Range::below(0, 1), "decay of the second moment")
      .number("adam_epsilon", &o.adam_epsilon, Range::above(0, 1), "1e-6 in the original BERT")
      .toggle("adam_bias_correction", &o.adam_bias_correction, "false in the original BERT")
      .number("max_grad_norm", &o.max_grad_norm, Range::between(0, 1e9), "gradients are clipped to it; 0: never")
      .toggle("freeze_embeddings", &o.freeze_embeddings, "embeddings are not trained")
      .toggle("gradient_checkpointing", &o.gradient_checkpointing,
              "keep only the inputs of layers: less memory, about a third more time, the same result")
      .toggle("bf16", &train.bf16, "products of bf16 numbers; parameters, gradients and optimizer stay float32")
      .toggle("tf32", &train.tf32, "products of TF32 numbers, by a GPU's tensor cores");
}

void add_progress_flags(Flags& flags, TrainFlags& train) {
  TrainOptions& o = train.options;
  flags.group("Evaluation and checkpoints")
      .toggle("do_train", &train.do_train, "accepted for run_glue's sake; false is refused: use bertx eval")
      .toggle("do_eval", &train.do_eval, "measure the final model where validation data is given")
      .toggle("do_predict", &train.do_predict, "write predict_results_<task>.txt; on where --test_file is given")
      .integer("logging_steps", &o.logging_steps, 0, kManySteps, "updates between two log lines; 0: none")
      .choice("eval_strategy", &train.eval_strategy, {"no", "steps", "epoch"}, "when to measure during training")
      .alias("evaluation_strategy")
      .integer("eval_steps", &o.eval_steps, 0, kManySteps, "updates between two evaluations; 0: logging_steps")
      .choice("save_strategy", &train.save_strategy, {"no", "steps", "epoch"}, "when to write checkpoint-<step>")
      .integer("save_steps", &o.save_steps, 0, kManySteps, "updates between two checkpoints; implies steps")
      .integer("save_total_limit", &o.save_total_limit, 0, 1 << 20, "checkpoints that are kept; 0: all")
      .toggle("load_best_model_at_end", &o.load_best_model_at_end, "end with the best evaluated model")
      .text("metric_for_best_model", &o.metric_for_best_model, "NAME", "loss, accuracy, f1, …")
      .choice("greater_is_better", &train.greater_is_better, {"true", "false"}, "else as the metric says")
      .text("resume_from_checkpoint", &train.resume_from_checkpoint, "DIR", "checkpoint, or true: the newest one")
      .toggle("overwrite_output_dir", &o.overwrite_output_dir, "remove checkpoints of an earlier run")
      .choice("report_to", &train.report_to, {"none", "tensorboard"}, "tensorboard: events under runs/")
      .toggle("dry_run", &train.dry_run,
              "print shapes, parameters, multiplies, steps and memory by kind; train nothing")
      .toggle("json", &train.json, "the final figures as one JSON object on standard output");
}

}  // namespace

void add_training_flags(Flags& flags, TrainFlags& train) {
  flags.accepts_config();
  flags.group("Model")
      .text("model_name_or_path", &train.model, "DIR", "Hugging Face directory, or the name of a cached Hub model")
      .alias("model")
      .text("output_dir", &train.output_dir, "DIR", "model, tokenizer, results and checkpoints go there");
  add_data_flags(flags, train.data, Wanted::train_and_validation);
  add_schedule_flags(flags, train);
  add_teacher_flags(flags, train.teacher);
  add_progress_flags(flags, train);
  add_run_flags(flags, train.run);
}

void finish_training_flags(const Flags& flags, TrainFlags& train) {
  TrainOptions& o = train.options;
  require(train.model, "model_name_or_path", "a Hugging Face directory, or the name of a cached Hub model");
  require(train.output_dir, "output_dir", "a directory for the new model");
  if (!train.do_train) fail(ErrorKind::usage, "--do_train: found false; `bertx eval` measures without training");
  if (train.bf16 && train.tf32) fail(ErrorKind::usage, "--tf32: found beside --bf16; expected one of them");
  if (train.bf16) train.run.dtype = "bf16";
  if (train.tf32) train.run.dtype = "tf32";
  if (o.max_steps == 0) fail(ErrorKind::usage, "--max_steps: found 0; expected at least 1, or -1 for whole epochs");
  o.output_dir = train.output_dir;
  o.seed = static_cast<std::uint64_t>(train.run.seed);
  o.lr_scheduler_type = find_schedule(train.lr_scheduler_type).value();
  o.tensorboard = train.report_to == "tensorboard";
  o.eval_strategy = train.eval_strategy == "no"      ? Evaluate::no
                    : train.eval_strategy == "steps" ? Evaluate::steps
                                                     : Evaluate::epoch;
  if (!flags.given("save_strategy") && flags.given("save_steps")) train.save_strategy = "steps";
  o.save_at_epoch = train.save_strategy == "epoch";
  if (train.save_strategy != "steps") o.save_steps = 0;
  if (train.save_strategy == "steps" && o.save_steps == 0) o.save_steps = 500;
  if (!train.greater_is_better.empty()) o.greater_is_better = train.greater_is_better == "true";
  if (!train.resume_from_checkpoint.empty() && train.resume_from_checkpoint != "false") {
    o.resume_from_checkpoint = train.resume_from_checkpoint == "True" ? "true" : train.resume_from_checkpoint;
  }
  if (!train.data.test_file.empty() && !flags.given("do_predict")) train.do_predict = true;
  train.max_seq_length_given = flags.given("max_seq_length");
  finish_teacher_flags(flags, train.teacher, train.output_dir);
  train.teacher.how.batch_size = o.per_device_eval_batch_size;
  train.teacher.how.seed = o.seed;
  check_options(o);
}

// --- preparing ------------------------------------------------------------------------------------------------

namespace {

/// The model with a head of as many outputs as the data has labels; its names are those of the data.
Model load_for(Backend& backend, const std::filesystem::path& directory, const Config& config, const TaskData& data,
               std::uint64_t seed) {
  const std::vector<std::string> labels =
      data.kind == LabelKind::regression ? std::vector<std::string>{"LABEL_0"} : data.labels;
  const bool fits = config.head == HeadKind::sequence_classification && config.labels.size() == labels.size();
  LoadOptions options;
  options.head = HeadKind::sequence_classification;
  options.problem = problem_of(data.kind);
  options.labels = labels;
  options.seed = seed;
  if (fits) options = {};
  LoadReport report;
  Model model = load_model(backend, directory, options, &report);
  require_finite(backend, model, directory.string());
  if (fits) {
    model.config.problem = model.head.problem = problem_of(data.kind);
    model.config.problem_is_stated = true;
    model.config.labels = labels;
  }
  for (const std::string& name : report.initialised) log(LogLevel::info, "new, random weights: ", name);
  for (const std::string& name : report.unused) log(LogLevel::debug, "not used: ", name);
  return model;
}

}  // namespace

Setup prepare_training(TrainFlags& train, TaskData* ready) {
  Setup setup;
  setup.backend = start_backend(train.run);
  setup.directory = resolve_model_directory(train.model);
  const Config config = read_config(setup.directory);
  fit_length(train.data, train.max_seq_length_given, config);
  if (!train.dry_run) check_output_directory(train.output_dir, setup.directory);
  setup.tokenizer = Tokenizer::load(setup.directory);
  setup.objective = load_teacher(*setup.backend, train.teacher, *setup.tokenizer, setup.directory);
  setup.data =
      ready ? std::move(*ready) : load_data(train.data, Wanted::train_and_validation, train.do_predict, &config, false);
  setup.model = load_for(*setup.backend, setup.directory, config, setup.data, train.options.seed);
  const TaskData& data = setup.data;
  log(LogLevel::info, "data: ", data.name, ", ", label_kind_name(data.kind), ", ", data.labels.size(), " labels, ",
      data.train->set.examples.size(), " texts to train on",
      data.validation.empty() ? "" : text(", ", data.validation[0].set.examples.size(), " to measure on"));
  if (!ready) setup.signal = encode_data(setup.data, *setup.tokenizer, train.data);
  return setup;
}

// --- running --------------------------------------------------------------------------------------------------

namespace {

TrainData training_view(const TaskData& data) {
  TrainData view;
  view.train = data.train->encoded;
  for (const DataPart& part : data.validation) view.eval.push_back({part.encoded, part.suffix});
  view.kind = data.kind;
  view.metrics = data.metrics;
  view.positive = data.positive;
  return view;
}

int stopped(int signal, const TrainResult* result) {
  const std::string name = signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : text("signal ", signal);
  if (result != nullptr && !result->last_checkpoint.empty()) {
    log(LogLevel::warning, "stopped by ", name, " after step ", result->state.step,
        "; continue with --resume_from_checkpoint ", result->last_checkpoint.string());
  } else {
    log(LogLevel::warning, "stopped by ", name);
  }
  return 128 + signal;
}

}  // namespace

int evaluate_and_write(Setup& setup, const TrainFlags& train, ProgressObserver* observer, Figures* figures) {
  if (!train.do_eval || setup.data.validation.empty()) return 0;
  setup.model->prepare(*setup.backend);
  const Evaluated result =
      evaluate_parts(*setup.backend, *setup.model, setup.data, train.options.per_device_eval_batch_size, observer);
  if (result.signal != 0) return result.signal;
  write_results(train.output_dir, "eval", result.figures);
  figures->insert(figures->end(), result.figures.begin(), result.figures.end());
  return 0;
}

int run_training(Setup& setup, const TrainFlags& train, TrainHook* hook, Figures* figures) {
  // 1. Training; it writes checkpoints, trainer_state.json and the final model.
  ConsoleProgress progress;
  const TrainResult result = bertx::train(*setup.backend, *setup.model, &*setup.tokenizer, training_view(setup.data),
                                          train.options, hook, &progress, setup.objective.get());
  if (result.signal != 0) return stopped(result.signal, &result);
  *figures = result.figures();
  write_results(train.output_dir, "train", *figures);
  log(LogLevel::info, "trained ", result.state.step, " steps in ", duration_text(result.runtime), ", ",
      fixed(result.samples_per_second, 1), " texts/s, mean loss ", fixed(result.train_loss, 4));

  // 2. The final model on the validation data.
  if (const int signal = evaluate_and_write(setup, train, &progress, figures); signal != 0)
    return stopped(signal, nullptr);

  // 3. Predictions for the test data.
  if (!setup.data.test.empty()) {
    setup.model->prepare(*setup.backend);
    const int signal = write_predictions(*setup.backend, *setup.model, setup.data,
                                         train.options.per_device_eval_batch_size, train.output_dir, &progress);
    if (signal != 0) return stopped(signal, nullptr);
  }
  return 0;
}

}  // namespace bertx::tools
