// From flags to labelled token ids: which files, which columns, whose label names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bertx/config.h"
#include "bertx/dataset.h"
#include "bertx/tokenizer.h"
#include "common/flags.h"

namespace bertx::tools {

struct DataOptions {
  std::string task_name, data_dir, train_file, validation_file, test_file;
  std::string text_column, text_pair_column, label_column;
  std::int64_t max_seq_length = 128, max_train_samples = 0, max_eval_samples = 0, max_predict_samples = 0;
};

/// What a command wants of the data; flags that name more are an error only where they contradict each other.
enum class Wanted { train_and_validation, validation };

void add_data_flags(Flags& flags, DataOptions& options, Wanted wanted);

/// A set of examples; `suffix` goes to the names of its figures ("_mm": MNLI mismatched).
struct DataPart {
  Dataset set;
  std::string suffix;
  std::vector<EncodedExample> encoded;
};

struct TaskData {
  const TaskInfo* task = nullptr;  ///< null: own files
  std::string name;
  LabelKind kind = LabelKind::single_label;
  std::vector<std::string> labels;
  std::vector<std::string> metrics;
  std::int32_t positive = 1;
  std::optional<DataPart> train;
  std::vector<DataPart> validation, test;
};

/// True where the flags name data at all; to train on.
bool names_data(const DataOptions& options);
bool names_training_data(const DataOptions& options);

/// Reads what is wanted. With `model`, a model with a classification head, labels are mapped by name to its own;
/// `model_is_fixed` makes labels that it lacks an error, otherwise the data's own labels are kept.
TaskData load_data(const DataOptions& options, Wanted wanted, bool with_test, const Config* model, bool model_is_fixed);

/// max_seq_length as it fits the model: the default gives way, a value that was `given` throws Error(usage).
void fit_length(DataOptions& options, bool given, const Config& model);

/// Tokenizes every part, piece by piece. Returns the signal that arrived meanwhile, or 0.
int encode_data(TaskData& data, const Tokenizer& tokenizer, const DataOptions& options);

/// Texts of "LABEL_0", "LABEL_1", … say nothing about what they mean.
bool labels_are_numbers(const std::vector<std::string>& labels);

ProblemKind problem_of(LabelKind kind);
LabelKind kind_of(ProblemKind problem);

}  // namespace bertx::tools
