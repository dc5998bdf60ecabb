// What all commands that train share: the flags of a training, the model with a head for the data, and the run itself
// with its result files.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "bertx/train.h"
#include "common/data.h"
#include "common/evaluation.h"
#include "common/run_options.h"
#include "common/teacher.h"

namespace bertx::tools {

/// run_glue's names and defaults.
struct TrainFlags {
  RunOptions run;
  DataOptions data;
  TrainOptions options;
  TeacherFlags teacher;
  std::string model, output_dir, lr_scheduler_type = "linear", eval_strategy = "no", save_strategy = "epoch";
  std::string resume_from_checkpoint, greater_is_better, report_to = "none";
  bool do_train = true, do_eval = true, do_predict = false, bf16 = false, tf32 = false, dry_run = false, json = false;
  bool max_seq_length_given = false;
};

void add_training_flags(Flags& flags, TrainFlags& train);
/// From texts to the enumerations of TrainOptions; what contradicts itself throws Error(usage).
void finish_training_flags(const Flags& flags, TrainFlags& train);

/// Everything that a training needs, in the order in which it is made.
struct Setup {
  std::unique_ptr<Backend> backend;
  std::filesystem::path directory;  ///< of the model
  std::optional<Tokenizer> tokenizer;
  TaskData data;
  std::optional<Model> model;
  std::unique_ptr<Objective> objective;  ///< null: the labels alone
  int signal = 0;                        ///< arrived while texts were tokenized
};

/// Reads tokenizer, teacher, data and model; puts a new head on where the model has none that fits the labels of the
/// data. `ready`, where given, is that data, read and tokenized before: it is taken.
Setup prepare_training(TrainFlags& train, TaskData* ready = nullptr);

/// Trains, evaluates, predicts, writes train_results.json, eval_results.json, all_results.json and predict_results_*.
/// Returns the exit code; `figures` receives what all_results.json holds.
int run_training(Setup& setup, const TrainFlags& train, TrainHook* hook, Figures* figures);

/// The whole of a command that only trains, with what it prints. Returns the exit code.
int train_and_print(TrainFlags& train);

/// Evaluates the validation parts and writes eval_results.json. Returns the signal that stopped it, or 0.
int evaluate_and_write(Setup& setup, const TrainFlags& train, ProgressObserver* observer, Figures* figures);

}  // namespace bertx::tools
