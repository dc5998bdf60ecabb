#include "train/run_state.h"

#include <cmath>
#include <limits>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/json.h"
#include "train/checkpoint.h"
#include "train/crc32c.h"
#include "train/figures.h"

namespace bertx {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;  // of a JSON file in a checkpoint
constexpr std::int64_t kMost = std::int64_t{1} << 53;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

nlohmann::json finite_or_null(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

std::string evaluate_name(Evaluate when) {
  return when == Evaluate::no ? "no" : when == Evaluate::steps ? "steps" : "epoch";
}

nlohmann::json read_object(const std::filesystem::path& path) {
  nlohmann::json json = parse_json_file(path, kMostBytes);
  if (!json.is_object())
    fail(ErrorKind::bad_input, path.string(), ": found ", json_found(json), ", expected an object");
  return json;
}

const nlohmann::json& object_at(const JsonObject& json, std::string_view key) {
  const nlohmann::json& value = json.at(key);
  if (!value.is_object()) json.fail_at(key, "an object");
  return value;
}

/// Throws for options without which the order or the size of batches is another one; returns the other differences.
std::vector<std::string> compare_options(const nlohmann::json& saved, const TrainOptions& options,
                                         const std::string& where) {
  const nlohmann::json now = options_to_json(options);
  const auto differs = [&](const char* key) { return !saved.contains(key) || saved[key] != now[key]; };
  const auto found = [&](const char* key) { return saved.contains(key) ? saved[key].dump() : std::string("nothing"); };
  for (const char* key : {"seed", "per_device_train_batch_size", "gradient_accumulation_steps", "freeze_embeddings"}) {
    if (differs(key)) {
      fail(ErrorKind::usage, key, ": found ", now[key].dump(), ", expected ", found(key), " as in ", where,
           "; a training can only go on with the same value");
    }
  }
  std::vector<std::string> warnings;
  for (const char* key : {"learning_rate", "adam_beta1", "adam_beta2", "adam_epsilon", "adam_bias_correction",
                          "weight_decay", "max_grad_norm", "num_train_epochs", "max_steps", "warmup_steps",
                          "warmup_ratio", "lr_scheduler_type", "sawtooth_epochs", "sawtooth_floor"}) {
    if (differs(key)) {
      warnings.push_back(text(key, " was ", found(key), " in ", where, " and is ", now[key].dump(), " from here on"));
    }
  }
  return warnings;
}

void compare_identity(const JsonObject& saved, const RunIdentity& now) {
  const JsonObject data(object_at(saved, "data"), saved.where() + ": data");
  const std::int64_t examples = data.integer("examples", 0, kMost);
  const std::string crc = data.string("crc32c");
  if (examples != now.examples || crc != crc_text(now.data_crc)) {
    fail(ErrorKind::bad_input, saved.where(), ": it was trained on other data: found ", examples,
         " examples with checksum ", crc, ", expected ", now.examples, " with ", crc_text(now.data_crc),
         " as in the training data given");
  }
  if (saved.integer("world_size", 1, kMost) != 1) saved.fail_at("world_size", "1, since training runs in one process");
  if (saved.boolean("compresses", false) != now.compresses) {
    fail(ErrorKind::usage, saved.where(), ": it was written ", now.compresses ? "without" : "with",
         " a compression method, and training now runs ", now.compresses ? "with" : "without", " one");
  }
  const std::string objective = saved.string("objective", "");
  if (objective != now.objective) {
    const auto named = [](const std::string& text) { return text.empty() ? "the labels alone" : text; };
    fail(ErrorKind::usage, saved.where(), ": it was trained on ", named(objective), ", and training is now on ",
         named(now.objective), "; a training can only go on with the same");
  }
}

}  // namespace

nlohmann::json options_to_json(const TrainOptions& o) {
  return {{"output_dir", o.output_dir.string()},
          {"learning_rate", o.learning_rate},
          {"adam_beta1", o.adam_beta1},
          {"adam_beta2", o.adam_beta2},
          {"adam_epsilon", o.adam_epsilon},
          {"adam_bias_correction", o.adam_bias_correction},
          {"weight_decay", o.weight_decay},
          {"max_grad_norm", o.max_grad_norm},
          {"gradient_checkpointing", o.gradient_checkpointing},
          {"num_train_epochs", o.num_train_epochs},
          {"max_steps", o.max_steps},
          {"warmup_steps", o.warmup_steps},
          {"warmup_ratio", o.warmup_ratio},
          {"lr_scheduler_type", schedule_name(o.lr_scheduler_type)},
          {"sawtooth_epochs", o.sawtooth_epochs},
          {"sawtooth_floor", o.sawtooth_floor},
          {"per_device_train_batch_size", o.per_device_train_batch_size},
          {"per_device_eval_batch_size", o.per_device_eval_batch_size},
          {"gradient_accumulation_steps", o.gradient_accumulation_steps},
          {"freeze_embeddings", o.freeze_embeddings},
          {"seed", o.seed},
          {"logging_steps", o.logging_steps},
          {"eval_strategy", evaluate_name(o.eval_strategy)},
          {"eval_steps", o.eval_steps},
          {"save_steps", o.save_steps},
          {"save_at_epoch", o.save_at_epoch},
          {"save_total_limit", o.save_total_limit},
          {"load_best_model_at_end", o.load_best_model_at_end},
          {"metric_for_best_model", o.metric_for_best_model},
          {"greater_is_better", o.greater_is_better ? nlohmann::json(*o.greater_is_better) : nlohmann::json()}};
}

nlohmann::json trainer_state_to_json(const RunState& run, const TrainOptions& options, const TrainPlan& plan) {
  nlohmann::json history = nlohmann::json::array();
  for (const Figures& entry : run.log_history) history.push_back(to_json(entry));
  const bool best = run.best_step >= 0;
  return {{"best_global_step", best ? nlohmann::json(run.best_step) : nlohmann::json()},
          {"best_metric", run.best_metric ? finite_or_null(*run.best_metric) : nlohmann::json()},
          {"best_model_checkpoint", best && options.load_best_model_at_end
                                        ? nlohmann::json(checkpoint_path(options.output_dir, run.best_step).string())
                                        : nlohmann::json()},
          {"epoch", run.at.epoch},
          {"eval_steps", options.eval_steps > 0 ? options.eval_steps : options.logging_steps},
          {"global_step", run.at.step},
          {"is_hyper_param_search", false},
          {"is_local_process_zero", true},
          {"is_world_process_zero", true},
          {"log_history", history},
          {"logging_steps", options.logging_steps},
          {"max_steps", plan.total_steps},
          {"num_train_epochs",
           plan.steps_per_epoch > 0 ? (plan.total_steps + plan.steps_per_epoch - 1) / plan.steps_per_epoch : 0},
          {"save_steps", options.save_steps},
          {"stateful_callbacks", nlohmann::json::object()},
          {"train_batch_size", options.per_device_train_batch_size},
          {"trial_name", nullptr},
          {"trial_params", nullptr}};
}

nlohmann::json bertx_state_to_json(const RunState& run, const RunIdentity& identity, const TrainOptions& options,
                                   const TrainPlan& plan, const std::string& hook_state,
                                   const std::string& objective_state) {
  const std::int64_t group = run.at.step % plan.steps_per_epoch;
  return {{"step", run.at.step},
          {"sampler",
           {{"epoch", run.at.step / plan.steps_per_epoch},
            {"batch", group * options.gradient_accumulation_steps},
            {"accumulated", 0}}},  // checkpoints lie between updates
          {"evaluation_due", run.evaluation_due},
          {"loss_since_log", run.loss_since_log},
          {"steps_since_log", run.steps_since_log},
          {"loss_total", run.loss_total},
          {"world_size", 1},
          {"data", {{"examples", identity.examples}, {"crc32c", crc_text(identity.data_crc)}}},
          {"options", options_to_json(options)},
          {"compresses", identity.compresses},
          {"hook", hook_state},
          {"objective", identity.objective},
          {"objective_state", objective_state}};
}

SavedRun read_run(const std::filesystem::path& checkpoint, const RunIdentity& identity, const TrainOptions& options,
                  const TrainPlan& plan) {
  const std::filesystem::path trainer_path = checkpoint / kTrainerState, bertx_path = checkpoint / kBertxState;
  const nlohmann::json trainer_json = read_object(trainer_path), bertx_json = read_object(bertx_path);
  const JsonObject trainer(trainer_json, trainer_path.string()), mine(bertx_json, bertx_path.string());
  compare_identity(mine, identity);

  SavedRun saved;
  saved.warnings = compare_options(object_at(mine, "options"), options, bertx_path.string());
  saved.hook_state = mine.string("hook");
  saved.objective_state = mine.string("objective_state", "{}");
  RunState& run = saved.run;
  run.at.step = mine.integer("step", 0, kMost);
  run.at.total_steps = plan.total_steps;
  run.at.epoch = trainer.number("epoch", 0.0, 0.0, kInfinity, "a number, 0 or more");
  if (trainer.integer("global_step", 0, kMost) != run.at.step) {
    trainer.fail_at("global_step", text(run.at.step, " as in ", kBertxState));
  }
  if (run.at.step > plan.total_steps) {
    fail(ErrorKind::usage, bertx_path.string(), ": found step ", run.at.step, ", expected at most ", plan.total_steps,
         ", the steps of this training");
  }
  const JsonObject sampler(object_at(mine, "sampler"), bertx_path.string() + ": sampler");
  const std::int64_t epoch = run.at.step / plan.steps_per_epoch, group = run.at.step % plan.steps_per_epoch;
  if (sampler.integer("epoch", 0, kMost) != epoch) sampler.fail_at("epoch", text(epoch, " at step ", run.at.step));
  const std::int64_t batch = group * options.gradient_accumulation_steps;
  if (sampler.integer("batch", 0, kMost) != batch) sampler.fail_at("batch", text(batch, " at step ", run.at.step));
  if (sampler.integer("accumulated", 0, kMost) != 0) sampler.fail_at("accumulated", "0");
  run.evaluation_due = mine.boolean("evaluation_due", false);
  run.loss_since_log = mine.number("loss_since_log", 0.0, -kInfinity, kInfinity, "a number");
  run.steps_since_log = mine.integer("steps_since_log", 0, kMost);
  run.loss_total = mine.number("loss_total", 0.0, -kInfinity, kInfinity, "a number");
  run.best_step = trainer.integer("best_global_step", -1, 0, kMost);
  if (trainer.has("best_metric"))
    run.best_metric = trainer.number("best_metric", 0.0, -kInfinity, kInfinity, "a number");
  const nlohmann::json& history = trainer.at("log_history");
  if (!history.is_array()) trainer.fail_at("log_history", "an array");
  for (const nlohmann::json& entry : history) {
    if (!entry.is_object()) trainer.fail_at("log_history", "an array of objects");
    run.log_history.push_back(figures_of(entry));
  }
  return saved;
}

std::string read_hook_state(const std::filesystem::path& checkpoint) {
  const nlohmann::json json = read_object(checkpoint / kBertxState);
  return JsonObject(json, (checkpoint / kBertxState).string()).string("hook");
}

}  // namespace bertx
