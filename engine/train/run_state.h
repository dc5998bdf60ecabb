// Where a training stands beside its parameters and moments, and how that is written into a checkpoint.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bertx/train.h"

namespace bertx {

struct RunState {
  TrainState at;
  bool evaluation_due = false;  ///< a signal came before the evaluation that belongs to this step
  double loss_since_log = 0, loss_total = 0;
  std::int64_t steps_since_log = 0;
  std::optional<double> best_metric;
  std::int64_t best_step = -1;
  std::vector<Figures> log_history;
};

/// What a run and its continuation must have in common.
struct RunIdentity {
  std::int64_t examples = 0;
  std::uint32_t data_crc = 0;  ///< of the training examples
  bool compresses = false;     ///< there is a TrainHook
  std::string objective;       ///< Objective::identity(); empty: the labels
};

nlohmann::json options_to_json(const TrainOptions& options);

/// trainer_state.json, with the keys of transformers' TrainerState.
nlohmann::json trainer_state_to_json(const RunState& run, const TrainOptions& options, const TrainPlan& plan);
/// bertx_state.json: what resuming bit for bit needs beyond that.
nlohmann::json bertx_state_to_json(const RunState& run, const RunIdentity& identity, const TrainOptions& options,
                                   const TrainPlan& plan, const std::string& hook_state,
                                   const std::string& objective_state);

struct SavedRun {
  RunState run;
  std::string hook_state, objective_state;
  std::vector<std::string> warnings;  ///< options that differ and change how training goes on
};
/// Reads both from `checkpoint`. Throws Error(bad_input) where they are damaged, contradict each other or belong to
/// other data, Error(usage) where `options` make a bit-identical continuation impossible.
SavedRun read_run(const std::filesystem::path& checkpoint, const RunIdentity& identity, const TrainOptions& options,
                  const TrainPlan& plan);
/// The hook's state alone.
std::string read_hook_state(const std::filesystem::path& checkpoint);

}  // namespace bertx
