#include "recipe/steps.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

using Names = std::span<const std::string_view>;

// One model, one output and one set of data serve the whole recipe.
constexpr auto kOfTheCommand = std::to_array<std::string_view>(
    {"model_name_or_path", "output_dir", "resume_from_checkpoint", "overwrite_output_dir", "dry_run", "json"});
constexpr auto kOfAllSteps = std::to_array<std::string_view>(
    {"task_name", "data_dir", "train_file", "validation_file", "test_file", "text_column", "text_pair_column",
     "label_column", "max_seq_length", "max_train_samples", "max_eval_samples", "max_predict_samples", "threads",
     "device", "log_level", "do_train", "do_predict"});
// These change what is written or shown on the way, not what comes out.
constexpr auto kOfTheJourney =
    std::to_array<std::string_view>({"logging_steps", "save_strategy", "save_steps", "save_total_limit", "report_to",
                                     "gradient_checkpointing", "do_eval", "per_device_eval_batch_size"});
// All that a step without training reads of the settings of a training.
constexpr auto kOfAStepAtOnce = std::to_array<std::string_view>({"seed", "bf16"});

bool among(Names names, std::string_view name) { return std::ranges::find(names, name) != names.end(); }

/// Settings of a training, taken from the command line first and then from the file.
class Settings {
 public:
  explicit Settings(const Flags& command) {
    add_training_flags(flags_, train_);
    flags_.take(command);
  }
  /// `of_a_step`: of that step alone.
  void take(const std::vector<compress::TrainSetting>& settings, const std::string& where, bool of_a_step) {
    for (const auto& [name, value] : settings) {
      const std::string key = where + ": train: " + name;
      const std::string flag = canonical(name, value, key);
      if (among(kOfTheCommand, flag)) {
        fail(ErrorKind::bad_input, key, ": found a setting of the whole command, expected it as --", flag,
             " on the command line");
      }
      if (of_a_step && among(kOfAllSteps, flag)) {
        fail(ErrorKind::bad_input, key, ": found a setting in one step, expected it in the \"train\" beside the steps ",
             "or as --", flag, ": it holds for all of them");
      }
      flags_.set(name, value, key);
      of_the_file_ = true;
    }
  }
  TrainFlags finish(const std::string& where) {
    try {
      finish_training_flags(flags_, train_);
    } catch (const Error& error) {
      if (!of_the_file_) throw;
      fail(ErrorKind::bad_input, where, ": train: ", error.what());
    }
    return train_;
  }
  /// What the result depends on, as it was given.
  std::map<std::string, std::string> identity(bool trains) const {
    std::map<std::string, std::string> given = flags_.given();
    std::erase_if(given, [&](const auto& item) {
      const std::string& name = item.first;
      if (!trains) return !among(kOfAStepAtOnce, name);
      return among(kOfTheCommand, name) || among(kOfAllSteps, name) || among(kOfTheJourney, name);
    });
    return given;
  }

 private:
  /// A flag may have several names; also checks the value.
  static std::string canonical(const std::string& name, const std::string& value, const std::string& where) {
    TrainFlags target;
    Flags alone("compress", "");
    add_training_flags(alone, target);
    alone.set(name, value, where);
    return alone.given().begin()->first;
  }

  TrainFlags train_;
  Flags flags_{"compress", ""};
  bool of_the_file_ = false;
};

/// The method and its options, as the file states them, without words about them.
nlohmann::json method_of(const compress::RecipeStep& step) {
  nlohmann::json json = nlohmann::json::parse(step.json);
  for (const char* key : {"train", "description"}) json.erase(key);
  return json;
}

Step plan_step(const compress::RecipeFile& file, std::size_t index, const Flags& flags) {
  const compress::RecipeStep& from = file.steps[index];
  Step step{text("step-", index + 1, "-", from.name()), file.where(index), {}, {}};
  Settings settings(flags);
  settings.take(file.training, file.path.string(), false);
  settings.take(from.training, step.where, true);
  Compression& compression = step.compression;
  compression.train = settings.finish(step.where);
  compression.has_method = !from.method.empty();
  compression.recipe = from.recipe;
  compression.recipe.seed = compression.train.options.seed;
  compression.recipe.learning_rate = compression.train.options.learning_rate;
  compression.trains = from.trains;
  step.identity = nlohmann::json{{"step", method_of(from)}, {"train", settings.identity(from.trains)}}.dump();
  return step;
}

/// Training, and what is measured on labels, need data.
void check_needs(const Step& step, bool data) {
  const Compression& c = step.compression;
  const bool measures = c.has_method && compress::find_method(c.recipe.method).needs_data;
  if (data || !(c.trains || measures)) return;
  fail(ErrorKind::usage, step.where, ": ", c.trains ? "it trains" : "it measures",
       " on labelled texts; expected --train_file, or --task_name with --data_dir");
}

std::string options_text(const compress::RecipeStep& step) {
  std::string out;
  const nlohmann::json method = method_of(step);
  for (const auto& [key, value] : method.items()) {
    if (key == "method") continue;
    out += (out.empty() ? "" : ", ") + key + " " + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return printable(out);
}

}  // namespace

Steps plan_steps(const compress::RecipeFile& file, const Flags& flags) {
  Steps plan;
  Settings whole(flags);
  whole.take(file.training, file.path.string(), false);
  plan.whole = whole.finish(file.path.string());
  const bool data = names_training_data(plan.whole.data);
  for (std::size_t i = 0; i < file.steps.size(); ++i) {
    plan.steps.push_back(plan_step(file, i, flags));
    check_needs(plan.steps.back(), data);
  }
  return plan;
}

void check_against(const Steps& steps, const TaskData& data) {
  std::vector<std::string> metrics = data.metrics;
  if (metrics.empty()) {
    for (const std::string_view name : default_metrics(data.kind)) metrics.emplace_back(name);
  }
  for (const Step& step : steps.steps) {
    const TrainOptions& options = step.compression.train.options;
    if (!step.compression.trains || options.eval_strategy == Evaluate::no) continue;
    if (data.validation.empty()) {
      fail(ErrorKind::usage, step.where,
           ": eval_strategy: found no validation data, expected some, or eval_strategy no");
    }
    std::string best = options.metric_for_best_model;
    if (best.starts_with("eval_")) best.erase(0, 5);
    if (best == "loss" || std::ranges::find(metrics, best) != metrics.end()) continue;
    std::string known = "loss";
    for (const std::string& name : metrics) known += ", " + name;
    fail(ErrorKind::usage, step.where, ": metric_for_best_model: found ", quote(best), ", expected one of ", known);
  }
}

std::string describe_steps(const Steps& steps, const compress::RecipeFile& file, const TaskData& data,
                           std::size_t done) {
  using Json = nlohmann::ordered_json;
  Table table({"step", "how", "needs", "options", ""});
  Json list = Json::array();
  const auto texts = data.train ? static_cast<std::int64_t>(data.train->encoded.size()) : 0;
  std::int64_t all_updates = 0;
  for (std::size_t i = 0; i < steps.steps.size(); ++i) {
    const Step& step = steps.steps[i];
    const Compression& c = step.compression;
    const std::int64_t updates = c.trains ? plan_training(c.train.options, texts).total_steps : 0;
    const bool measures = c.has_method && compress::find_method(c.recipe.method).needs_data;
    const std::string how = c.trains ? text(count_text(updates), " updates") : "at once";
    const std::string needs = c.trains || measures ? "labelled texts" : "-";
    if (i >= done) all_updates += updates;
    table.row({step.name, how, needs, options_text(file.steps[i]), i < done ? "done" : ""});
    list.push_back({{"name", step.name},
                    {"method", c.has_method ? c.recipe.method : "fine_tune"},
                    {"trains", c.trains},
                    {"updates", updates},
                    {"needs_labelled_texts", c.trains || measures},
                    {"options", Json::parse(method_of(file.steps[i]).dump())},
                    {"done", i < done}});
  }
  if (steps.whole.json) {
    return Json{{"texts", texts}, {"updates", all_updates}, {"steps", list}}.dump(2, ' ', false,
                                                                                  Json::error_handler_t::replace) +
           "\n";
  }
  return table.text() +
         text("\ntexts to train on: ", count_text(texts), "\nupdates to come: ", count_text(all_updates), "\n");
}

}  // namespace bertx::tools
