// The state of one call of train().
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "bertx/train.h"
#include "train/directory_lock.h"
#include "train/run_state.h"
#include "train/tensorboard.h"
#include "train/update_step.h"

namespace bertx {

class Trainer {
 public:
  Trainer(Backend& backend, Model& model, const Tokenizer* tokenizer, const TrainData& data,
          const TrainOptions& options, TrainHook* hook, ProgressObserver* observer, Objective* objective);
  TrainResult run();

 private:
  void check();
  void start();
  void clear_output();
  void load(const std::filesystem::path& checkpoint, const std::string& hook_state);

  void update();
  void log_if_due();
  void add_to_log(Figures entry);
  bool is_last_step() const;
  bool is_epoch_end() const;
  bool is_evaluation_due() const;
  bool is_checkpoint_due() const;
  bool evaluate_all();
  void save_checkpoint();

  void finish();
  void save_final();
  void summarise(std::int64_t first_step);
  void warn(const std::string& warning);

  Backend& backend_;
  Model& model_;
  const Tokenizer* tokenizer_;
  TrainData data_;
  TrainOptions options_;
  TrainHook* hook_;
  Objective* objective_;
  ProgressObserver silent_;
  ProgressObserver* observer_;
  Sampler sampler_;

  TrainPlan plan_;
  RunState run_;
  RunIdentity identity_;
  std::optional<DirectoryLock> lock_;
  std::optional<UpdateStep> step_;  ///< between begin and finish of the hook
  std::optional<TensorBoardWriter> tensorboard_;

  std::int64_t epoch_ = -1;  ///< the one that order_ belongs to
  std::vector<std::int64_t> order_;
  UpdateResult last_;
  std::chrono::steady_clock::time_point begin_;
  double training_seconds_ = 0;  ///< updates alone
  std::int64_t steps_done_ = 0;  ///< in this call
  TrainResult result_;
};

}  // namespace bertx
