// The loop: sampler -> batches -> update -> log -> evaluate -> checkpoint.
#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/posix.h"
#include "train/checkpoint.h"
#include "train/examples.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

void move_files(const fs::path& from, const fs::path& to) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) files.push_back(entry.path());
  for (const fs::path& file : files) {
    struct stat status {};
    sync_descriptor(open_regular(file, status).get(), file);
  }
  for (const fs::path& file : files) {
    std::error_code error;
    fs::rename(file, to / file.filename(), error);
    if (error) fail(ErrorKind::io, (to / file.filename()).string(), ": cannot be replaced: ", error.message());
  }
  sync_directory(to);
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::max(1e-9, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

}  // namespace

TrainResult train(Backend& backend, Model& model, const Tokenizer* tokenizer, const TrainData& data,
                  const TrainOptions& options, TrainHook* hook, ProgressObserver* observer, Objective* objective) {
  return Trainer(backend, model, tokenizer, data, options, hook, observer, objective).run();
}

void prepare_for_training(Backend& backend, Model& model, const TrainOptions& options, TrainHook* hook,
                          const TrainState& state, Objective* objective) {
  if (options.freeze_embeddings) {
    model.embeddings.visit("", [](const std::string&, Parameter& p) { p.frozen = true; });
  }
  if (hook) hook->begin(backend, model, state);
  model.refresh(backend);
  if (objective) objective->begin(backend, model);
}

Trainer::Trainer(Backend& backend, Model& model, const Tokenizer* tokenizer, const TrainData& data,
                 const TrainOptions& options, TrainHook* hook, ProgressObserver* observer, Objective* objective)
    : backend_(backend),
      model_(model),
      tokenizer_(tokenizer),
      data_(data),
      options_(options),
      hook_(hook),
      objective_(objective),
      observer_(observer ? observer : &silent_),
      sampler_(static_cast<std::int64_t>(data.train.size()), options.seed) {}

TrainResult Trainer::run() {
  begin_ = std::chrono::steady_clock::now();
  check();
  start();
  observer_->on_begin(run_.at, plan_);
  const std::int64_t first_step = run_.at.step;
  if (run_.evaluation_due && pending_signal() == 0) evaluate_all();
  while (run_.at.step < plan_.total_steps && pending_signal() == 0) {
    update();
    log_if_due();
    run_.evaluation_due = is_evaluation_due();
    const bool best = run_.evaluation_due && pending_signal() == 0 && evaluate_all();
    if (pending_signal() == 0 && (best || is_checkpoint_due())) save_checkpoint();
  }
  result_.signal = pending_signal();
  if (result_.signal == 0) {
    finish();
  } else if (!options_.output_dir.empty() &&
             result_.last_checkpoint != checkpoint_path(options_.output_dir, run_.at.step)) {
    save_checkpoint();
  }
  step_.reset();
  model_.drop_gradients();
  if (objective_) objective_->visit([](const std::string&, Parameter& p) { p.grad = {}; });
  summarise(first_step);
  return std::move(result_);
}

// ---- before the first step ------------------------------------------------------------------------------------------

void Trainer::check() {
  check_options(options_);
  check_examples(model_, data_.train, data_.kind, "training data");
  if (data_.kind == LabelKind::none) fail(ErrorKind::usage, "training data: found no labels, expected some");
  if (options_.eval_strategy != Evaluate::no && data_.eval.empty()) {
    fail(ErrorKind::usage, "eval_strategy: found no validation data, expected some, or eval_strategy no");
  }
  for (const EvalSet& set : data_.eval)
    check_examples(model_, set.examples, data_.kind, "validation data" + set.suffix);
  if (data_.metrics.empty()) {
    for (const std::string_view name : default_metrics(data_.kind)) data_.metrics.emplace_back(name);
  }
  std::string& best = options_.metric_for_best_model;
  if (best.starts_with("eval_")) best.erase(0, 5);
  if (best != "loss" && std::find(data_.metrics.begin(), data_.metrics.end(), best) == data_.metrics.end()) {
    std::string known = "loss";
    for (const std::string& name : data_.metrics) known += ", " + name;
    fail(ErrorKind::usage, "metric_for_best_model: found ", quoted(best), ", expected one of ", known);
  }
  plan_ = plan_training(options_, static_cast<std::int64_t>(data_.train.size()));
}

void Trainer::start() {
  run_.at.total_steps = plan_.total_steps;
  std::optional<SavedRun> saved;
  fs::path checkpoint;
  identity_ = {sampler_.count(), fingerprint(data_.train), hook_ != nullptr, objective_ ? objective_->identity() : ""};
  if (!options_.output_dir.empty()) {
    lock_.emplace(options_.output_dir);
    clean_leftovers(options_.output_dir);
  }
  if (options_.resume_from_checkpoint) {
    std::vector<std::string> warnings;
    checkpoint = resolve_checkpoint(options_, warnings);
    for (const std::string& warning : warnings) warn(warning);
    saved = read_run(checkpoint, identity_, options_, plan_);
    for (const std::string& warning : saved->warnings) warn(warning);
    run_ = std::move(saved->run);
    std::error_code error;
    const fs::path same = checkpoint_path(options_.output_dir, run_.at.step);
    if (fs::equivalent(same, checkpoint, error)) result_.last_checkpoint = same;
    load(checkpoint, saved->hook_state);
  } else {
    if (!options_.output_dir.empty()) clear_output();
    prepare_for_training(backend_, model_, options_, hook_, run_.at, objective_);
  }
  const TrainMemory memory = plan_memory(backend_, model_, data_.train, data_.kind, options_, objective_);
  step_.emplace(backend_, model_, options_, objective_);
  step_->reserve(memory.activations);
  if (objective_) objective_->start(backend_, data_.train, *observer_);
  if (saved) load_moments(checkpoint, backend_, step_->optimizer());
  if (saved && objective_) {
    load_objective(checkpoint, backend_, *objective_);
    objective_->load(saved->objective_state);
  }
  if (options_.tensorboard) tensorboard_.emplace(options_.output_dir / "runs");
}

void Trainer::clear_output() {
  for (const auto& [step, path] : list_checkpoints(options_.output_dir)) {
    if (!options_.overwrite_output_dir) {
      fail(ErrorKind::usage, "output_dir: found ", path.string(),
           " of an earlier training, expected none; use resume_from_checkpoint to go on with it or "
           "overwrite_output_dir to remove it");
    }
    remove_checkpoint(path);
  }
}

void Trainer::load(const fs::path& checkpoint, const std::string& hook_state) {
  model_ = load_model(backend_, checkpoint);
  check_examples(model_, data_.train, data_.kind, "training data");
  TrainState at = run_.at;
  at.resumed = true;
  prepare_for_training(backend_, model_, options_, hook_, at, objective_);
  if (hook_) hook_->load(hook_state);
  if (hook_) hook_->load_files(backend_, checkpoint);
  model_.refresh(backend_);
}

// ---- steps ----------------------------------------------------------------------------------------------------------

void Trainer::update() {
  const std::int64_t epoch = run_.at.step / plan_.steps_per_epoch, group = run_.at.step % plan_.steps_per_epoch;
  if (epoch != epoch_) {
    order_ = sampler_.epoch(epoch);
    epoch_ = epoch;
  }
  const std::int64_t size = options_.per_device_train_batch_size, accumulate = options_.gradient_accumulation_steps;
  const std::int64_t first = group * accumulate, last = std::min(first + accumulate, plan_.batches_per_epoch);
  const auto batch = [&](std::int64_t micro) {
    const std::size_t begin = static_cast<std::size_t>((first + micro) * size);
    const std::size_t count = std::min(static_cast<std::size_t>(size), order_.size() - begin);
    return collate(data_.train, std::span(order_).subspan(begin, count), data_.kind, output_count(model_));
  };
  const auto begin = std::chrono::steady_clock::now();
  run_.at.learning_rate =
      options_.learning_rate * schedule_factor(options_.lr_scheduler_type, run_.at.step, plan_.warmup_steps,
                                               plan_.total_steps, plan_.sawtooth_steps, options_.sawtooth_floor);
  last_ = step_->run(run_.at, last - first, batch, hook_);
  training_seconds_ += seconds_since(begin);

  ++run_.at.step;
  ++steps_done_;
  run_.at.epoch = static_cast<double>(epoch) + static_cast<double>(last) / static_cast<double>(plan_.batches_per_epoch);
  run_.loss_since_log += last_.loss;
  run_.loss_total += last_.loss;
  ++run_.steps_since_log;
  result_.samples += std::min(last * size, sampler_.count()) - first * size;
  observer_->on_step(
      {run_.at, last_.loss, last_.gradient_norm, static_cast<double>(steps_done_) / training_seconds_, last_.tokens});
}

void Trainer::log_if_due() {
  if (options_.logging_steps == 0 || run_.at.step % options_.logging_steps != 0) return;
  Figures entry = {{"loss", run_.loss_since_log / static_cast<double>(run_.steps_since_log)},
                   {"grad_norm", last_.gradient_norm},
                   {"learning_rate", run_.at.learning_rate}};
  if (hook_) {
    for (auto& figure : hook_->figures()) entry.push_back(std::move(figure));
  }
  if (objective_) {
    for (auto& figure : objective_->take_figures()) entry.push_back(std::move(figure));
  }
  run_.loss_since_log = 0;
  run_.steps_since_log = 0;
  add_to_log(std::move(entry));
}

void Trainer::add_to_log(Figures entry) {
  entry.emplace_back("epoch", run_.at.epoch);
  if (tensorboard_) tensorboard_->add(run_.at.step, entry);
  entry.emplace_back("step", static_cast<double>(run_.at.step));
  observer_->on_log(run_.at, entry);
  run_.log_history.push_back(std::move(entry));
}

bool Trainer::is_last_step() const { return run_.at.step == plan_.total_steps; }
bool Trainer::is_epoch_end() const { return run_.at.step % plan_.steps_per_epoch == 0 || is_last_step(); }

bool Trainer::is_evaluation_due() const {
  if (options_.eval_strategy == Evaluate::no) return false;
  if (options_.eval_strategy == Evaluate::epoch) return is_epoch_end();
  const std::int64_t every = options_.eval_steps > 0 ? options_.eval_steps : options_.logging_steps;
  return run_.at.step % every == 0 || is_last_step();
}

bool Trainer::is_checkpoint_due() const {
  if (options_.save_at_epoch && is_epoch_end()) return true;
  return options_.save_steps > 0 && (run_.at.step % options_.save_steps == 0 || is_last_step());
}

/// Whether the first set says that this is the best model so far, and that one is to be kept. Of a signal on the way
/// nothing is left but evaluation_due.
bool Trainer::evaluate_all() {
  std::vector<Figures> found;
  for (const EvalSet& set : data_.eval) {
    const EvalOptions how{data_.kind, data_.metrics, data_.positive, options_.per_device_eval_batch_size};
    const EvalResult evaluated = evaluate(backend_, model_, set.examples, how, observer_);
    if (evaluated.signal != 0) return false;
    for (const std::string& warning : evaluated.metrics.warnings) warn(warning);
    found.push_back(evaluated.figures("eval", set.suffix));
  }
  for (Figures& entry : found) {
    observer_->on_evaluate(run_.at, entry);
    add_to_log(entry);
  }
  run_.evaluation_due = false;

  const std::string& metric = options_.metric_for_best_model;
  const std::string name = "eval_" + metric + data_.eval.front().suffix;
  const auto figure =
      std::find_if(found.front().begin(), found.front().end(), [&](const auto& f) { return f.first == name; });
  if (figure == found.front().end() || std::isnan(figure->second)) return false;
  const bool higher = options_.greater_is_better.value_or(higher_is_better(metric));
  if (run_.best_metric && !(higher ? figure->second > *run_.best_metric : figure->second < *run_.best_metric))
    return false;
  run_.best_metric = figure->second;
  run_.best_step = run_.at.step;
  return options_.load_best_model_at_end;
}

void Trainer::save_checkpoint() {
  const fs::path path = checkpoint_path(options_.output_dir, run_.at.step);
  const nlohmann::json trainer_state = trainer_state_to_json(run_, options_, plan_),
                       arguments = options_to_json(options_),
                       mine = bertx_state_to_json(run_, identity_, options_, plan_, hook_ ? hook_->save() : "{}",
                                                  objective_ ? objective_->save() : "{}");
  write_checkpoint(
      path, {backend_, model_, tokenizer_, objective_, step_->optimizer(), trainer_state, mine, arguments, hook_});
  result_.last_checkpoint = path;
  rotate_checkpoints(options_.output_dir, options_.save_total_limit, run_.at.step,
                     options_.load_best_model_at_end ? run_.best_step : -1);
  observer_->on_checkpoint(run_.at, path);
}

// ---- after the last step --------------------------------------------------------------------------------------------

void Trainer::finish() {
  step_.reset();
  model_.drop_gradients();
  if (options_.load_best_model_at_end && run_.best_step >= 0 && run_.best_step != run_.at.step) {
    const fs::path best = checkpoint_path(options_.output_dir, run_.best_step);
    try {
      verify_checkpoint(best);
      load(best, read_hook_state(best));
    } catch (const Error& error) {
      warn(text("the best model cannot be loaded, the last one is kept: ", error.what()));
    }
  }
  if (hook_) hook_->finish(backend_, model_, run_.at);
  model_.refresh(backend_);
  const double runtime = seconds_since(begin_);
  add_to_log({{"train_runtime", runtime},
              {"train_samples_per_second", static_cast<double>(result_.samples) / runtime},
              {"train_steps_per_second", static_cast<double>(steps_done_) / runtime},
              {"train_loss", run_.loss_total / static_cast<double>(std::max<std::int64_t>(1, run_.at.step))}});
  if (!options_.output_dir.empty() && options_.save_final_model) save_final();
}

/// Complete under another name first, then file by file into place: output_dir also holds checkpoints and may be a
/// mount point, so it is not exchanged as a whole.
void Trainer::save_final() {
  const DirectoryWriter staged(options_.output_dir / "model");
  save_model(backend_, model_, staged.path(), options_.final_form);
  if (tokenizer_) tokenizer_->save(staged.path());
  write_text_file(staged.path() / kTrainerState, trainer_state_to_json(run_, options_, plan_).dump(2) + "\n");
  write_text_file(staged.path() / kTrainingArgs, options_to_json(options_).dump(2) + "\n");
  move_files(staged.path(), options_.output_dir);
}

void Trainer::summarise(std::int64_t first_step) {
  result_.state = run_.at;
  result_.runtime = seconds_since(begin_);
  result_.train_loss = run_.loss_total / static_cast<double>(std::max<std::int64_t>(1, run_.at.step));
  result_.steps_per_second = static_cast<double>(run_.at.step - first_step) / result_.runtime;
  result_.samples_per_second = static_cast<double>(result_.samples) / result_.runtime;
  result_.samples = sampler_.count();
  result_.best_metric = run_.best_metric;
  if (run_.best_step >= 0 && options_.load_best_model_at_end)
    result_.best_checkpoint = checkpoint_path(options_.output_dir, run_.best_step);
  result_.log_history = std::move(run_.log_history);
}

void Trainer::warn(const std::string& warning) {
  if (std::find(result_.warnings.begin(), result_.warnings.end(), warning) != result_.warnings.end()) return;
  result_.warnings.push_back(warning);
  observer_->on_warning(warning);
}

Figures TrainResult::figures() const {
  return {{"epoch", state.epoch},
          {"train_loss", train_loss},
          {"train_runtime", runtime},
          {"train_samples", static_cast<double>(samples)},
          {"train_samples_per_second", samples_per_second},
          {"train_steps_per_second", steps_per_second}};
}

}  // namespace bertx
