#include "common/data.h"

#include <algorithm>

#include "bertx/error.h"
#include "bertx/signals.h"
#include "common/log.h"
#include "common/progress.h"
#include "common/text.h"

namespace bertx::tools {

void add_data_flags(Flags& flags, DataOptions& options, Wanted wanted) {
  const bool train = wanted == Wanted::train_and_validation;
  flags.group("Data").text("task_name", &options.task_name, "NAME", "cola sst2 mrpc qqp stsb mnli qnli rte wnli");
  flags.text("data_dir", &options.data_dir, "DIR", "of the task: train.tsv, dev.tsv, … or a directory above SST-2/ …");
  if (train) flags.text("train_file", &options.train_file, "FILE", "own texts: .csv, .tsv or .jsonl");
  flags.text("validation_file", &options.validation_file, "FILE", "own texts to measure on");
  if (train)
    flags.text("test_file", &options.test_file, "FILE", "own texts to predict at the end; labels may be missing");
  flags.text("text_column", &options.text_column, "NAME", "else sentence1, else the first that is no label and no id")
      .text("text_pair_column", &options.text_pair_column, "NAME",
            "second text of a pair; else sentence2, else the next")
      .text("label_column", &options.label_column, "NAME", "else label")
      .integer("max_seq_length", &options.max_seq_length, 3, 1 << 20, "tokens; longer texts are cut");
  if (train) flags.integer("max_train_samples", &options.max_train_samples, 0, 1ll << 40, "the first N; 0: all");
  flags.integer("max_eval_samples", &options.max_eval_samples, 0, 1ll << 40, "the first N; 0: all");
  if (train) flags.integer("max_predict_samples", &options.max_predict_samples, 0, 1ll << 40, "the first N; 0: all");
}

bool names_data(const DataOptions& options) {
  return !(options.task_name.empty() && options.train_file.empty() && options.validation_file.empty());
}

bool names_training_data(const DataOptions& options) {
  return !(options.task_name.empty() && options.train_file.empty());
}

ProblemKind problem_of(LabelKind kind) {
  return kind == LabelKind::regression    ? ProblemKind::regression
         : kind == LabelKind::multi_label ? ProblemKind::multi_label
                                          : ProblemKind::single_label;
}

LabelKind kind_of(ProblemKind problem) {
  return problem == ProblemKind::regression    ? LabelKind::regression
         : problem == ProblemKind::multi_label ? LabelKind::multi_label
                                               : LabelKind::single_label;
}

bool labels_are_numbers(const std::vector<std::string>& labels) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != text("LABEL_", i)) return false;
  }
  return true;
}

namespace {

const TaskInfo* task_of(const DataOptions& options) {
  if (options.task_name.empty()) return nullptr;
  const TaskInfo* task = find_task(options.task_name);
  if (task == nullptr) {
    fail(ErrorKind::usage, "--task_name: found '", printable(options.task_name),
         "'; expected one of cola sst2 mrpc qqp stsb mnli qnli rte wnli",
         did_you_mean(options.task_name, task_names()));
  }
  if (options.data_dir.empty()) fail(ErrorKind::usage, "--data_dir is missing; --task_name ", task->name, " needs it");
  if (!options.train_file.empty() || !options.validation_file.empty()) {
    fail(ErrorKind::usage, "--task_name and own files are both given; expected one of them");
  }
  return task;
}

/// The label names that own files are read with: those of the model, where they mean something.
std::optional<Dataset> model_labels(const Config* model) {
  if (model == nullptr || model->head != HeadKind::sequence_classification) return std::nullopt;
  Dataset like;
  like.kind = kind_of(model->problem);
  if (!model->problem_is_stated && model->labels.size() == 1) like.kind = LabelKind::regression;
  if (like.kind != LabelKind::regression) {
    if (labels_are_numbers(model->labels)) return std::nullopt;
    like.labels = model->labels;
  }
  return like;
}

void limit(Dataset& set, std::int64_t most) {
  if (most > 0 && static_cast<std::int64_t>(set.examples.size()) > most) {
    set.examples.resize(static_cast<std::size_t>(most));
  }
}

/// Whether the model's label names can stand for those of the data, whatever their order.
bool maps_by_name(const Dataset& set, const Config& model) {
  if (model.head != HeadKind::sequence_classification || kind_of(model.problem) != set.kind) return false;
  if (set.kind == LabelKind::regression) return model.labels.size() == 1;
  if (model.labels.size() != set.labels.size()) return false;
  Dataset trial;
  trial.kind = set.kind;
  trial.labels = set.labels;
  try {
    relabel(trial, model.labels);
  } catch (const Error&) {
    return false;
  }
  return true;
}

/// Reads the parts one by one; the first that is read fixes kind and label names for all.
class Loader {
 public:
  Loader(const DataOptions& options, const Config* model, bool fixed)
      : options_(options), model_(model), fixed_(fixed), task_(task_of(options)) {}

  const TaskInfo* task() const { return task_; }
  const std::optional<Dataset>& like() const { return like_; }

  Dataset read(Split split, const std::string& file) {
    Dataset set = task_ != nullptr
                      ? load_task(*task_, options_.data_dir, split)
                      : load_file(file, {options_.text_column, options_.text_pair_column, options_.label_column}, split,
                                  file_like());
    for (const std::string& warning : set.warnings) log(LogLevel::warning, warning);
    if (set.kind == LabelKind::none || set.kind == LabelKind::regression) {
      check_kind(set, file);
    } else if (use_model_labels(set)) {
      const bool informative = !labels_are_numbers(model_->labels);
      check_kind(set, file);
      // Names that say nothing give way to those of the data.
      if (informative && set.labels != model_->labels) relabel(set, model_->labels);
    }
    if (!like_ && set.kind != LabelKind::none) like_ = Dataset{set.name, set.kind, set.labels, {}, {}};
    return set;
  }

 private:
  const Dataset* file_like() {
    if (like_) return &*like_;
    if (fixed_ && !own_) own_ = model_labels(model_);
    return own_ ? &*own_ : nullptr;
  }
  bool use_model_labels(const Dataset& set) const {
    if (model_ == nullptr || model_->head != HeadKind::sequence_classification) return false;
    return fixed_ || maps_by_name(set, *model_);
  }
  void check_kind(const Dataset& set, const std::string& file) const {
    if (!fixed_ || set.kind == LabelKind::none) return;
    const auto of_model = model_labels(model_);
    if (of_model && of_model->kind != set.kind) {
      fail(ErrorKind::bad_input, file.empty() ? set.name : file, ": found labels for ", label_kind_name(set.kind),
           "; the model expects ", label_kind_name(of_model->kind));
    }
  }

  const DataOptions& options_;
  const Config* model_;
  bool fixed_;
  const TaskInfo* task_;
  std::optional<Dataset> like_, own_;
};

void read_validation(Loader& loader, const DataOptions& options, TaskData& data) {
  if (loader.task() == nullptr) {
    if (options.validation_file.empty()) return;
    data.validation.push_back({loader.read(Split::validation, options.validation_file), "", {}});
  } else {
    data.validation.push_back({loader.read(Split::validation, ""), "", {}});
    if (loader.task()->name == "mnli") {
      data.validation.push_back({loader.read(Split::validation_mismatched, ""), "_mm", {}});
    }
  }
  for (DataPart& part : data.validation) limit(part.set, options.max_eval_samples);
}

void read_test(Loader& loader, const DataOptions& options, TaskData& data) {
  if (loader.task() == nullptr) {
    if (options.test_file.empty()) {
      fail(ErrorKind::usage, "--do_predict: --test_file is missing; expected a file of texts to predict");
    }
    data.test.push_back({loader.read(Split::test, options.test_file), "", {}});
  } else {
    data.test.push_back({loader.read(Split::test, ""), "", {}});
    if (loader.task()->name == "mnli") data.test.push_back({loader.read(Split::test_mismatched, ""), "-mm", {}});
  }
  for (DataPart& part : data.test) limit(part.set, options.max_predict_samples);
}

}  // namespace

TaskData load_data(const DataOptions& options, Wanted wanted, bool with_test, const Config* model,
                   bool model_is_fixed) {
  Loader loader(options, model, model_is_fixed);
  TaskData data;
  data.task = loader.task();
  if (wanted == Wanted::train_and_validation) {
    if (data.task == nullptr && options.train_file.empty()) {
      fail(ErrorKind::usage, "training data is missing; expected --train_file, or --task_name with --data_dir");
    }
    data.train = DataPart{loader.read(Split::train, options.train_file), "", {}};
    limit(data.train->set, options.max_train_samples);
  } else if (data.task == nullptr && options.validation_file.empty()) {
    fail(ErrorKind::usage, "data is missing; expected --validation_file, or --task_name with --data_dir");
  }
  read_validation(loader, options, data);
  if (with_test) read_test(loader, options, data);

  if (!loader.like()) fail(ErrorKind::bad_input, options.validation_file, ": found no labels; expected a label column");
  data.kind = loader.like()->kind;
  data.labels = loader.like()->labels;
  data.name = data.task != nullptr ? std::string(data.task->name) : loader.like()->name;
  if (data.task != nullptr) {
    data.metrics.assign(data.task->metrics.begin(), data.task->metrics.end());
    if (data.kind == LabelKind::single_label) data.positive = positive_class(*data.task, data.labels);
  }
  return data;
}

void fit_length(DataOptions& options, bool given, const Config& model) {
  if (options.max_seq_length <= model.positions) return;
  if (given) {
    fail(ErrorKind::usage, "--max_seq_length: found ", options.max_seq_length, "; the model has ", model.positions,
         " positions");
  }
  options.max_seq_length = model.positions;
}

int encode_data(TaskData& data, const Tokenizer& tokenizer, const DataOptions& options) {
  std::vector<DataPart*> parts;
  if (data.train) parts.push_back(&*data.train);
  for (DataPart& part : data.validation) parts.push_back(&part);
  for (DataPart& part : data.test) parts.push_back(&part);

  constexpr std::size_t kPiece = 4096;  // between two looks at signals
  for (DataPart* part : parts) {
    const std::span<const Example> all(part->set.examples);
    ProgressBar bar("tokenizing", static_cast<std::int64_t>(all.size()), "texts");
    part->encoded.reserve(all.size());
    for (std::size_t first = 0; first < all.size(); first += kPiece) {
      if (const int signal = pending_signal(); signal != 0) return signal;
      auto piece = encode(tokenizer, all.subspan(first, std::min(kPiece, all.size() - first)),
                          static_cast<int>(options.max_seq_length));
      std::ranges::move(piece, std::back_inserter(part->encoded));
      bar.update(static_cast<std::int64_t>(part->encoded.size()), "");
    }
  }
  for (const std::string& warning : tokenizer.warnings()) log(LogLevel::warning, warning);
  return 0;
}

}  // namespace bertx::tools
