// A checkpoint directory: the model in native form, moments, states, and a manifest that vouches for every file.
//
//   checkpoint-120/  config.json  model.safetensors   the model with masks and scores; load_model reads it
//                    optimizer.safetensors            <path>.exp_avg, <path>.exp_avg_sq
//                    objective.safetensors            parameters of the objective, where it has some
//                    trainer_state.json               as transformers writes it
//                    training_args.json               the options
//                    bertx_state.json                 sampler position, running sums, data checksum, the hook's state
//                    hook_…                           files of the hook, where it has some
//                    vocab.txt …                      the tokenizer, where there is one
//                    bertx_manifest.json              format version; size and CRC-32C of every file above
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "bertx/train.h"
#include "train/optimizer.h"
#include "train/run_state.h"

namespace bertx {

inline constexpr const char* kTrainerState = "trainer_state.json";
inline constexpr const char* kBertxState = "bertx_state.json";
inline constexpr const char* kTrainingArgs = "training_args.json";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kObjectiveFile = "objective.safetensors";
inline constexpr const char* kManifest = "bertx_manifest.json";
inline constexpr std::int64_t kCheckpointVersion = 1;

std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, std::int64_t step);

struct CheckpointContent {
  Backend& backend;
  Model& model;
  const Tokenizer* tokenizer;
  Objective* objective;  ///< or null
  const Optimizer& optimizer;
  const nlohmann::json &trainer_state, &bertx_state, &training_args;
  const TrainHook* hook = nullptr;  ///< its files
};
/// Complete or not at all. Throws Error(io).
void write_checkpoint(const std::filesystem::path& path, const CheckpointContent& content);

/// Reads every file once. Throws Error(bad_input) that names the file and what is wrong with it.
void verify_checkpoint(const std::filesystem::path& path);
/// Moments of exactly the optimizer's parameters; Error(bad_input) otherwise.
void load_moments(const std::filesystem::path& checkpoint, Backend& backend, Optimizer& optimizer);

/// Exactly the parameters that the objective has; Error(bad_input) otherwise.
void load_objective(const std::filesystem::path& checkpoint, Backend& backend, Objective& objective);

/// checkpoint-<step> directories, ascending.
std::vector<std::pair<std::int64_t, std::filesystem::path>> list_checkpoints(const std::filesystem::path& output_dir);
/// Removes the oldest of the checkpoints up to `newest` until `limit` are left, but neither `newest` nor `best`.
void rotate_checkpoints(const std::filesystem::path& output_dir, std::int64_t limit, std::int64_t newest,
                        std::int64_t best);
/// At once gone under its name, then deleted.
void remove_checkpoint(const std::filesystem::path& path);
/// What processes killed in remove_checkpoint or write_checkpoint left behind.
void clean_leftovers(const std::filesystem::path& output_dir);

/// The checkpoint that `resume_from_checkpoint` means, verified; why others were passed over goes to `warnings`.
std::filesystem::path resolve_checkpoint(const TrainOptions& options, std::vector<std::string>& warnings);

}  // namespace bertx
