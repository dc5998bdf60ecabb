// The training loop: batches, loss, gradients, clip, update, evaluation, checkpoints — and the seam by which
// compression takes part (TrainHook), since it has no loop of its own.
//
//   examples -> Sampler -> collate -> forward -> loss -> backward -> [hook] -> clip -> AdamW -> [hook]
//            -> log -> evaluate -> checkpoint
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bertx/dataset.h"
#include "bertx/metrics.h"
#include "bertx/model.h"
#include "bertx/signals.h"
#include "bertx/tokenizer.h"

namespace bertx {

enum class Schedule : std::uint8_t { linear, constant, cosine, sawtooth };
enum class Evaluate : std::uint8_t { no, steps, epoch };

/// Names and defaults are those of transformers' TrainingArguments.
struct TrainOptions {
  std::filesystem::path output_dir;  ///< empty: nothing is written (then no checkpoints, no best model)
  double learning_rate = 5e-5, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double weight_decay = 0.0, max_grad_norm = 1.0;  ///< max_grad_norm 0: no clipping
  double num_train_epochs = 3.0;
  std::int64_t max_steps = -1;  ///< positive: overrides the epochs
  std::int64_t warmup_steps = 0;
  double warmup_ratio = 0.0;  ///< counts where warmup_steps is 0
  Schedule lr_scheduler_type = Schedule::linear;
  double sawtooth_epochs = 4.0;  ///< sawtooth: from one peak to the next
  double sawtooth_floor = 0.1;   ///< sawtooth: share of the peak that a tooth falls to
  bool adam_bias_correction = true;
  std::int64_t per_device_train_batch_size = 8, per_device_eval_batch_size = 8, gradient_accumulation_steps = 1;
  bool freeze_embeddings = false;
  bool gradient_checkpointing = false;  ///< less memory, about a third more time; the same bits
  std::uint64_t seed = 42;
  std::int64_t logging_steps = 500;  ///< 0: only the summary at the end
  Evaluate eval_strategy = Evaluate::no;
  std::int64_t eval_steps = 0, save_steps = 0;  ///< 0: eval with logging_steps; no checkpoints before the end
  bool save_at_epoch = false;
  std::int64_t save_total_limit = 0;           ///< 0: keep all. The best and the newest are never removed
  bool load_best_model_at_end = false;         ///< every evaluation that is the best so far writes a checkpoint, too
  std::string metric_for_best_model = "loss";  ///< with or without "eval_"
  std::optional<bool> greater_is_better;       ///< empty: as higher_is_better() says
  /// A checkpoint directory (an unusable one is an Error), or "true", or a directory of checkpoints: the newest usable
  /// one there (of output_dir), unusable newer ones being skipped with a warning.
  std::optional<std::filesystem::path> resume_from_checkpoint;
  bool overwrite_output_dir =
      false;                     ///< a fresh start removes the checkpoints in output_dir; otherwise it refuses them
  bool save_final_model = true;  ///< into output_dir, after TrainHook::finish
  ExportForm final_form = ExportForm::native;
  bool tensorboard = false;  ///< event files under output_dir/runs
};

/// Throws Error(usage) naming the option, its value and what is allowed.
void check_options(const TrainOptions& options);

/// How many updates `options` make of `examples`; for `--dry_run` and hooks that plan ahead.
struct TrainPlan {
  std::int64_t batches_per_epoch = 0, steps_per_epoch = 0, total_steps = 0, warmup_steps = 0;
  std::int64_t sawtooth_steps = 0;  ///< from one peak to the next
};
TrainPlan plan_training(const TrainOptions& options, std::int64_t examples);

/// Bytes that training takes from its backend, beside those of a hook.
struct TrainMemory {
  std::int64_t sequences = 0, tokens = 0;  ///< of the longest micro-batch, which `activations` is for
  std::size_t weights = 0, gradients = 0, moments = 0, activations = 0;
  std::size_t objective = 0;  ///< what an Objective holds beside its parameters: a teacher
  std::size_t total() const { return weights + gradients + moments + activations + objective; }
};
class Objective;
/// Counted by running the longest batch on a backend that computes nothing: exact, and at no cost. `model` is in the
/// representation it will be trained in (prepare_for_training); it has no gradients afterwards.
TrainMemory plan_memory(Backend& backend, Model& model, std::span<const EncodedExample> examples, LabelKind kind,
                        const TrainOptions& options, Objective* objective = nullptr);

/// What the learning rate of update `step` (from 0) is multiplied with; as transformers.get_scheduler of linear,
/// constant_with_warmup and cosine. sawtooth falls from 1 to `floor` along a line and jumps back every
/// `sawtooth_steps`; teeth end where training ends, so the first is a shorter one where they do not fill it (Kurtic et
/// al. 2022, 2203.07259: a jump after every pruning step).
double schedule_factor(Schedule schedule, std::int64_t step, std::int64_t warmup_steps, std::int64_t total_steps,
                       std::int64_t sawtooth_steps = 1, double floor = 0.0);
std::string_view schedule_name(Schedule schedule);
/// "linear", "constant" (or "constant_with_warmup"), "cosine", "sawtooth"; empty for others.
std::optional<Schedule> find_schedule(std::string_view name);

/// Where training stands; handed to hooks.
struct TrainState {
  std::int64_t step = 0;  ///< updates done
  std::int64_t total_steps = 0;
  double epoch = 0;
  double learning_rate = 0;  ///< of the update at hand
  bool resumed = false;      ///< in TrainHook::begin: the model is a checkpoint's, of step 0 maybe
};

/// How compression takes part in training. All calls come from the training thread, in the order of this list.
class TrainHook {
 public:
  virtual ~TrainHook() = default;
  /// Before the optimizer is built: the hook may change the representation of weights, here and in finish() only.
  /// After a resume the model is that of the checkpoint: what an earlier begin() made of it is already there, and flags
  /// of parameters (frozen, decay, learning_rate_factor) are to be set again; `load` follows. The same happens before
  /// finish() where load_best_model_at_end brings back an earlier checkpoint.
  virtual void begin(Backend&, Model&, const TrainState&) {}
  /// Before the forward pass of a step (once per update, not per micro-batch): sets masks for this step.
  virtual void before_step(Backend&, Model&, const TrainState&) {}
  /// Gradients of the whole batch are there, not yet clipped: adds those of a penalty; returns the penalty's value,
  /// which is added to the reported loss. Of the word embeddings only the rows of the batch's tokens have a gradient.
  virtual double after_backward(Backend&, Model&, const TrainState&) { return 0.0; }
  /// Parameters are updated and refreshed.
  virtual void after_update(Backend&, Model&, const TrainState&) {}
  /// Training has ended: makes the compression real (cuts, exact zeros, CSR). Optimizer moments are gone by now.
  virtual void finish(Backend&, Model&, const TrainState&) {}
  /// Everything beyond parameters and structure that resuming bit for bit needs, as JSON text; and its inverse.
  virtual std::string save() const { return "{}"; }
  virtual void load(const std::string& /*json*/) {}
  /// What is too much for JSON, as files "hook_…" in the directory of a checkpoint, whose manifest vouches for them; and
  /// its inverse, which follows `load`.
  virtual void save_files(Backend&, const std::filesystem::path& /*checkpoint*/) const {}
  virtual void load_files(Backend&, const std::filesystem::path& /*checkpoint*/) {}
  /// Named figures for logs and progress, e.g. {"sparsity", 0.73}.
  virtual std::vector<std::pair<std::string, double>> figures() const { return {}; }
};

/// Named numbers in the order of their output; NaN is written as null.
using Figures = std::vector<std::pair<std::string, double>>;

// --- Evaluation -----------------------------------------------------------------------------------------------

struct EvalOptions {
  LabelKind kind = LabelKind::none;  ///< of the examples; none: predictions only
  std::vector<std::string> metrics;  ///< empty: default_metrics(kind)
  std::int32_t positive = 1;         ///< the class that F1 is about
  std::int64_t batch_size = 8;       ///< sequences
};

struct EvalResult {
  Predictions predictions;     ///< in the order of the examples
  std::optional<double> loss;  ///< mean over the labelled examples; empty without labels
  MetricValues metrics;
  std::int64_t samples = 0;
  double runtime = 0, samples_per_second = 0, steps_per_second = 0;
  int signal = 0;  ///< it was stopped by this signal: nothing above counts

  /// eval_loss, eval_accuracy, …, eval_samples, eval_runtime, eval_samples_per_second, eval_steps_per_second; `suffix`
  /// is added to every name ("_mm" for MNLI mismatched, as in run_glue).
  Figures figures(std::string_view prefix = "eval", std::string_view suffix = {}) const;
};

struct StepReport {
  TrainState state;             ///< after the update
  double loss = 0;              ///< of this step, with the hook's penalty
  double gradient_norm = 0;     ///< before clipping
  double steps_per_second = 0;  ///< over this run so far, evaluations left out
  std::int64_t tokens = 0;      ///< of this step
};

/// How a tool hears of progress; the library itself prints nothing. Called from the thread that trains or evaluates.
class ProgressObserver {
 public:
  virtual ~ProgressObserver() = default;
  virtual void on_begin(const TrainState& /*start*/, const TrainPlan&) {}
  virtual void on_step(const StepReport&) {}
  virtual void on_log(const TrainState&, const Figures&) {}  ///< what goes to log_history
  virtual void on_evaluate_progress(std::int64_t /*samples done*/, std::int64_t /*of*/) {}
  virtual void on_evaluate(const TrainState&, const Figures&) {}
  virtual void on_checkpoint(const TrainState&, const std::filesystem::path&) {}
  virtual void on_warning(const std::string&) {}
};

/// What a training minimises instead of the loss of the labels, e.g. the distance from a teacher
/// (compress/distillation). It may have parameters of its own: they are trained beside the model's and go into
/// checkpoints, not into the model. All calls come from the training thread, in the order of this list.
class Objective {
 public:
  virtual ~Objective() = default;
  /// All that its values depend on, as text: a training resumes under the same objective only.
  virtual std::string identity() const = 0;
  /// After TrainHook::begin, whenever that is called: the model is as it will be trained. New parameters are made here.
  virtual void begin(Backend&, Model&) = 0;
  virtual void visit(const Visit& /*parameter*/) {}
  /// Of the backend's memory, beside the parameters.
  virtual std::size_t bytes() const { return 0; }
  /// Before the first step of this run: what is computed once for all examples. A signal may end it early.
  virtual void start(Backend&, std::span<const EncodedExample> /*train*/, ProgressObserver&) {}
  /// Forward, loss and backward of one micro-batch: returns the loss; gradients of `share` times it add up. To count
  /// memory it is called before `start`, on a backend that computes nothing.
  virtual double run(Exec& exec, Model& model, const Batch& batch, Model::Saved& saved, double share) = 0;
  /// Parts of the loss, each as its mean since the last call, for the log.
  virtual Figures take_figures() { return {}; }
  /// What resuming bit for bit needs beyond the parameters, as JSON text; and its inverse.
  virtual std::string save() const { return "{}"; }
  virtual void load(const std::string& /*json*/) {}
};

/// Runs `model` over `examples`, shortest first, and measures it. Throws Error(bad_input) for ids, lengths or labels
/// that the model has no place for, Error(numeric) for logits that are not finite.
EvalResult evaluate(Backend& backend, const Model& model, std::span<const EncodedExample> examples,
                    const EvalOptions& options, ProgressObserver* observer = nullptr);

/// Writes <split>_results.json and merges the figures into all_results.json, as transformers' save_metrics does.
void write_results(const std::filesystem::path& directory, std::string_view split, const Figures& figures);
/// The same as JSON text, keys sorted.
std::string figures_to_json(const Figures& figures, int indent = 4);

// --- Training -------------------------------------------------------------------------------------------------

struct EvalSet {
  std::span<const EncodedExample> examples;
  std::string suffix;  ///< of the names of its figures; the first set picks the best model
};

/// What is trained on. The spans must outlive the call.
struct TrainData {
  std::span<const EncodedExample> train;
  std::vector<EvalSet> eval;
  LabelKind kind = LabelKind::single_label;
  std::vector<std::string> metrics;  ///< empty: default_metrics(kind)
  std::int32_t positive = 1;
};

struct TrainResult {
  TrainState state;
  int signal = 0;            ///< nonzero: stopped by this signal, after a checkpoint; finish() was not called
  double train_loss = 0;     ///< mean over all steps, those before a resume included
  double runtime = 0;        ///< seconds of this call
  std::int64_t samples = 0;  ///< training examples
  double samples_per_second = 0, steps_per_second = 0;
  std::optional<double> best_metric;
  std::filesystem::path best_checkpoint, last_checkpoint;  ///< empty: none
  std::vector<Figures> log_history;
  std::vector<std::string> warnings;

  Figures figures() const;  ///< train_loss, train_runtime, …: for write_results(…, "train", …)
};

/// Flags and representation that are not part of a model's file: what train() begins with. `hook` and `objective` may
/// be null.
void prepare_for_training(Backend& backend, Model& model, const TrainOptions& options, TrainHook* hook,
                          const TrainState& state, Objective* objective = nullptr);

/// Trains a sequence classification model in place. `tokenizer`, where given, is saved with every checkpoint. After a
/// resume `model` is replaced by the checkpoint's. With equal options, data and thread count a resumed run ends in the
/// very parameters of an uninterrupted one; a signal acts after the update at hand.
///
/// Throws Error(numeric) before an update whose loss or gradient is not finite (it names step and tensor), Error(usage)
/// for options that make no sense or contradict the checkpoint (seed, batch size, accumulation, objective),
/// Error(bad_input) for a checkpoint that is damaged, from a later version or from other data, Error(io) when a file
/// cannot be written.
TrainResult train(Backend& backend, Model& model, const Tokenizer* tokenizer, const TrainData& data,
                  const TrainOptions& options, TrainHook* hook = nullptr, ProgressObserver* observer = nullptr,
                  Objective* objective = nullptr);

/// Checksums of everything that training sees of the examples, in their order; of a model's parameters and structure.
std::uint32_t fingerprint(std::span<const EncodedExample> examples);
std::uint32_t fingerprint(Backend& backend, Model& model);

/// The newest usable checkpoint-<step> in `output_dir`; empty: none. Why newer ones are not usable goes to `skipped`.
std::filesystem::path find_last_checkpoint(const std::filesystem::path& output_dir,
                                           std::vector<std::string>* skipped = nullptr);

}  // namespace bertx
