// The training loop: batches, loss, gradients, clip, update, evaluation, checkpoints — and the seam by which
// compression takes part (TrainHook), since it has no loop of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bertx/dataset.h"
#include "bertx/metrics.h"
#include "bertx/model.h"
#include "bertx/tokenizer.h"

namespace bertx {

enum class Schedule : std::uint8_t { linear, constant, cosine };
enum class Evaluate : std::uint8_t { no, steps, epoch };

/// Names and defaults are those of transformers' TrainingArguments.
struct TrainOptions {
  std::filesystem::path output_dir;
  double learning_rate = 5e-5, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double weight_decay = 0.0, max_grad_norm = 1.0;
  double num_train_epochs = 3.0;
  std::int64_t max_steps = -1;  ///< positive: overrides the epochs
  std::int64_t warmup_steps = 0;
  double warmup_ratio = 0.0;
  Schedule lr_scheduler_type = Schedule::linear;
  bool adam_bias_correction = true;
  std::int64_t per_device_train_batch_size = 8, per_device_eval_batch_size = 8, gradient_accumulation_steps = 1;
  bool freeze_embeddings = false;
  std::uint64_t seed = 42;
  std::int64_t logging_steps = 500;
  Evaluate eval_strategy = Evaluate::no;
  std::int64_t eval_steps = 0, save_steps = 0;  ///< 0: eval with logging_steps; no checkpoints before the end
  bool save_at_epoch = false;
  std::int64_t save_total_limit = 0;  ///< 0: keep all
  bool load_best_model_at_end = false;
  std::string metric_for_best_model = "loss";
  std::optional<bool> greater_is_better;
  std::optional<std::filesystem::path> resume_from_checkpoint;
  bool tensorboard = false;
};

/// Where training stands; handed to hooks.
struct TrainState {
  std::int64_t step = 0;         ///< updates done
  std::int64_t total_steps = 0;
  double epoch = 0;
  double learning_rate = 0;      ///< of the update at hand
};

/// How compression takes part in training. All calls come from the training thread, in the order of this list.
class TrainHook {
 public:
  virtual ~TrainHook() = default;
  /// Before the optimizer is built: the hook may change the representation of weights. After a resume, `load` follows.
  virtual void begin(Backend&, Model&, const TrainState&) {}
  /// Before the forward pass of a step (once per update, not per micro-batch): sets masks for this step.
  virtual void before_step(Backend&, Model&, const TrainState&) {}
  /// Gradients of the whole batch are there, not yet clipped: adds those of a penalty; returns the penalty's value,
  /// which is added to the reported loss.
  virtual double after_backward(Backend&, Model&, const TrainState&) { return 0.0; }
  /// Parameters are updated and refreshed.
  virtual void after_update(Backend&, Model&, const TrainState&) {}
  /// Training has ended: makes the compression real (cuts, exact zeros, CSR). Optimizer moments are gone by now.
  virtual void finish(Backend&, Model&, const TrainState&) {}
  /// Everything beyond parameters and structure that resuming bit for bit needs, as JSON text; and its inverse.
  virtual std::string save() const { return "{}"; }
  virtual void load(const std::string& /*json*/) {}
  /// Named figures for logs and progress, e.g. {"sparsity", 0.73}.
  virtual std::vector<std::pair<std::string, double>> figures() const { return {}; }
};

}  // namespace bertx
