// How long a training is, and its learning rate over time.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "bertx/error.h"
#include "bertx/train.h"

namespace bertx {
namespace {

constexpr double kMostSteps = 1e15;  // beyond it a step is no longer an exact double

}  // namespace

double schedule_factor(Schedule schedule, std::int64_t step, std::int64_t warmup_steps, std::int64_t total_steps,
                       std::int64_t sawtooth_steps, double floor) {
  const auto ratio = [](std::int64_t part, std::int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<std::int64_t>(1, whole));
  };
  if (step < warmup_steps) return ratio(step, warmup_steps);
  switch (schedule) {
    case Schedule::constant: return 1.0;
    case Schedule::linear: return std::max(0.0, ratio(total_steps - step, total_steps - warmup_steps));
    case Schedule::cosine:
      return std::max(
          0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * ratio(step - warmup_steps, total_steps - warmup_steps))));
    case Schedule::sawtooth: {
      const std::int64_t first = total_steps % sawtooth_steps;  // the length of the shorter tooth
      const double fallen = step < first ? ratio(step, first) : ratio((step - first) % sawtooth_steps, sawtooth_steps);
      return 1.0 - (1.0 - floor) * fallen;
    }
  }
  return 0.0;
}

std::string_view schedule_name(Schedule schedule) {
  switch (schedule) {
    case Schedule::linear: return "linear";
    case Schedule::constant: return "constant";
    case Schedule::cosine: return "cosine";
    case Schedule::sawtooth: return "sawtooth";
  }
  return "";
}

std::optional<Schedule> find_schedule(std::string_view name) {
  if (name == "constant_with_warmup") return Schedule::constant;
  for (const Schedule schedule : {Schedule::linear, Schedule::constant, Schedule::cosine, Schedule::sawtooth}) {
    if (name == schedule_name(schedule)) return schedule;
  }
  return std::nullopt;
}

TrainPlan plan_training(const TrainOptions& options, std::int64_t examples) {
  const auto ceil_div = [](std::int64_t a, std::int64_t b) { return a / b + (a % b != 0); };
  TrainPlan plan;
  plan.batches_per_epoch = ceil_div(examples, options.per_device_train_batch_size);
  plan.steps_per_epoch = ceil_div(plan.batches_per_epoch, options.gradient_accumulation_steps);
  if (options.max_steps > 0) {
    plan.total_steps = options.max_steps;
  } else {
    const double steps = std::ceil(options.num_train_epochs * static_cast<double>(plan.steps_per_epoch));
    if (!(steps <= kMostSteps)) {
      fail(ErrorKind::usage, "num_train_epochs: ", options.num_train_epochs, " makes ", steps,
           " steps, expected at most ", kMostSteps);
    }
    plan.total_steps = static_cast<std::int64_t>(steps);
  }
  plan.warmup_steps =
      options.warmup_steps > 0
          ? options.warmup_steps
          : static_cast<std::int64_t>(std::ceil(options.warmup_ratio * static_cast<double>(plan.total_steps)));
  plan.sawtooth_steps = static_cast<std::int64_t>(
      std::clamp(std::round(options.sawtooth_epochs * static_cast<double>(plan.steps_per_epoch)), 1.0, kMostSteps));
  return plan;
}

void check_options(const TrainOptions& options) {
  const auto number = [](const char* name, double value, bool ok, const char* expected) {
    if (!ok || !std::isfinite(value)) fail(ErrorKind::usage, name, ": found ", value, ", expected ", expected);
  };
  const auto count = [](const char* name, std::int64_t value, std::int64_t least) {
    if (value < least || value > static_cast<std::int64_t>(kMostSteps)) {
      fail(ErrorKind::usage, name, ": found ", value, ", expected ", least, " to ",
           static_cast<std::int64_t>(kMostSteps));
    }
  };
  number("learning_rate", options.learning_rate, options.learning_rate > 0, "a finite number above 0");
  number("adam_beta1", options.adam_beta1, options.adam_beta1 >= 0 && options.adam_beta1 < 1, "0 <= beta < 1");
  number("adam_beta2", options.adam_beta2, options.adam_beta2 >= 0 && options.adam_beta2 < 1, "0 <= beta < 1");
  number("adam_epsilon", options.adam_epsilon, options.adam_epsilon > 0, "a finite number above 0");
  number("weight_decay", options.weight_decay, options.weight_decay >= 0, "a finite number, 0 or more");
  number("max_grad_norm", options.max_grad_norm, options.max_grad_norm >= 0, "a finite number, 0 or more");
  number("warmup_ratio", options.warmup_ratio, options.warmup_ratio >= 0 && options.warmup_ratio <= 1, "0 to 1");
  number("sawtooth_epochs", options.sawtooth_epochs, options.sawtooth_epochs > 0, "a finite number above 0");
  number("sawtooth_floor", options.sawtooth_floor, options.sawtooth_floor >= 0 && options.sawtooth_floor <= 1,
         "0 to 1");
  if (options.max_steps <= 0) {
    number("num_train_epochs", options.num_train_epochs, options.num_train_epochs > 0, "a finite number above 0");
  }
  count("max_steps", options.max_steps, -1);
  count("warmup_steps", options.warmup_steps, 0);
  count("per_device_train_batch_size", options.per_device_train_batch_size, 1);
  count("per_device_eval_batch_size", options.per_device_eval_batch_size, 1);
  count("gradient_accumulation_steps", options.gradient_accumulation_steps, 1);
  count("logging_steps", options.logging_steps, 0);
  count("eval_steps", options.eval_steps, 0);
  count("save_steps", options.save_steps, 0);
  count("save_total_limit", options.save_total_limit, 0);
  if (options.eval_strategy == Evaluate::steps && options.eval_steps == 0 && options.logging_steps == 0) {
    fail(ErrorKind::usage,
         "eval_steps: found 0 and logging_steps 0, expected one of them to be positive with eval_strategy steps");
  }
  if (options.load_best_model_at_end && options.eval_strategy == Evaluate::no) {
    fail(ErrorKind::usage, "load_best_model_at_end: found eval_strategy no, expected steps or epoch");
  }
  if (options.output_dir.empty()) {
    const char* needs = options.load_best_model_at_end ? "load_best_model_at_end"
                        : options.save_steps > 0       ? "save_steps"
                        : options.save_at_epoch        ? "save_at_epoch"
                        : options.tensorboard          ? "tensorboard"
                        : options.resume_from_checkpoint == std::filesystem::path("true")
                            ? "resume_from_checkpoint true"
                            : nullptr;
    if (needs) fail(ErrorKind::usage, "output_dir: found none, expected a directory, since ", needs, " is given");
  }
}

}  // namespace bertx
