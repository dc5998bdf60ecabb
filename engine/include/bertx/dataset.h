// Labelled texts: GLUE tasks by name, own CSV, TSV and JSONL files; from there to token ids and ragged batches.
//
//   load_task / load_file -> Dataset -> encode -> EncodedExample -> collate -> Batch
//
// Files are UTF-8 (a byte order mark is skipped) and are read as a stream, so memory is the texts once plus 112 bytes
// an example (up to three times these while the list grows; a row of a file has three bytes at least). What cannot be
// read throws Error(bad_input) with file, line, field, what was found and what was expected; a file that cannot be
// opened throws Error(io). Defined for every file:
//   - blank lines are skipped; LF and CRLF end a line; a line or quoted record over 16 MiB is refused
//   - NUL bytes, malformed (or overlong) UTF-8 and UTF-16 are refused
//   - a row with more or fewer fields than the header is refused (short rows of QQP are skipped with a warning)
//   - an empty text, or one of control characters only, is an example; how many there are is a warning
//   - blanks around labels and column names do not count; a missing label or `nan` is refused
//   - columns of ids are not looked at: rows with the same id are separate examples
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/batch.h"

namespace bertx {

class Tokenizer;

/// `none`: the examples have no labels (test files).
enum class LabelKind : std::uint8_t { none, single_label, regression, multi_label };
std::string_view label_kind_name(LabelKind kind);  ///< "single_label", …

/// The mismatched splits exist for MNLI only.
enum class Split : std::uint8_t { train, validation, validation_mismatched, test, test_mismatched };
std::string_view split_name(Split split);

struct Example {
  std::string text_a, text_b;
  bool pair = false;                  ///< text_b counts, even where it is empty
  std::int32_t label = -100;          ///< single label: index into Dataset::labels
  float target = 0;                   ///< regression
  std::vector<std::int32_t> classes;  ///< multi-label: the labels that hold, ascending
  std::int64_t line = 0;              ///< where the row begins in its file, from 1
};

struct Dataset {
  std::string name;  ///< of the task, or the stem of the file
  LabelKind kind = LabelKind::none;
  std::vector<std::string> labels;  ///< names by index; empty for regression
  std::vector<Example> examples;
  std::vector<std::string> warnings;  ///< what a user should know and what did not stop the loading
};

// --- GLUE -----------------------------------------------------------------------------------------------------

/// The columns of one file of a task, from 0. The last column is `last`, a missing one `absent`.
struct FileLayout {
  static constexpr int absent = -1, last = -2;
  int text = 0, text_pair = absent, label = absent;
  bool header = true;
};

struct TaskInfo {
  std::string_view name;    ///< as run_glue says it: "sst2"
  std::string_view folder;  ///< as the official archives say it: "SST-2"
  LabelKind kind;
  std::vector<std::string> labels;        ///< in the order of GLUE; files hold these names, or
  bool numbered_labels;                   ///< the numbers 0, 1, … for them
  std::vector<std::string_view> metrics;  ///< see metrics.h; the first one picks the best model
  FileLayout labelled, test;
  bool skip_short_rows;
};

/// nullptr where there is no such task. Case, '-' and '_' do not count: sst2, SST-2 and sst_2 are one.
const TaskInfo* find_task(std::string_view name);
/// cola sst2 mrpc qqp stsb mnli qnli rte wnli
std::vector<std::string_view> task_names();

/// Reads `directory/<train|dev|test>.tsv` (MNLI: dev_matched, …), or that of the task's folder under `directory`.
/// With `model_labels` (id2label of a model) the labels are then mapped by name, see relabel().
Dataset load_task(const TaskInfo& task, const std::filesystem::path& directory, Split split,
                  const std::vector<std::string>* model_labels = nullptr);

/// The index of GLUE's label 1, the one that F1 is about, among `labels` (a model may order them otherwise).
std::int32_t positive_class(const TaskInfo& task, const std::vector<std::string>& labels);

// --- Own files ------------------------------------------------------------------------------------------------

/// Names of columns (keys in JSONL); empty: the default. Defaults: `label`; `sentence1` and `sentence2` where both
/// are there, else the first one or two other columns that are not named id, idx, index or guid (in JSONL: of those
/// that hold a string in the first line). Naming `text` alone means a single text.
struct Columns {
  std::string text, text_pair, label;
};

/// Reads .csv (RFC 4180: quotes, also around line breaks; a quote inside an unquoted field is text), .tsv (no quoting,
/// as in GLUE) with a header row, or .jsonl / .json (one object a line).
///
/// What the labels are follows from the whole column, or from `like` (the training set, or anything with the kind
/// and the label names of a model; nothing else of it is read):
///   regression    every label is a number and at least one has a decimal point or exponent (JSONL: number, no string)
///   multi_label   JSONL: arrays of names, or arrays of 0 and 1 that all have one length (labels are named 0, 1, …);
///                 CSV and TSV: names separated by '|' in at least one row; no name at all is allowed
///   single_label  everything else
/// Label names are sorted (numbers by value). In test files the label column may be missing or empty throughout:
/// kind none. Training sets need two classes.
Dataset load_file(const std::filesystem::path& file, const Columns& columns, Split split,
                  const Dataset* like = nullptr);

/// Maps the labels of `data` by name to the order of `model_labels` (id2label): exactly, else without regard to
/// case. Names that say nothing (LABEL_0, LABEL_1, …, as many as data has) keep the order. Throws Error(bad_input) when
/// the model lacks a label of the data.
void relabel(Dataset& data, const std::vector<std::string>& model_labels);

// --- Tokens and batches ---------------------------------------------------------------------------------------

struct EncodedExample {
  std::vector<std::int32_t> ids, types;  ///< with [CLS] and [SEP], at most max_length
  std::int32_t label = -100;
  float target = 0;
  std::vector<std::int32_t> classes;
};

/// On `threads` threads (0: as OpenMP decides). A caller who wants progress or interruption encodes piece by piece.
std::vector<EncodedExample> encode(const Tokenizer& tokenizer, std::span<const Example> examples, int max_length,
                                   int threads = 0);
std::vector<EncodedExample> encode(const Tokenizer& tokenizer, const Dataset& data, int max_length, int threads = 0);

/// A ragged batch of examples[indices[0]], …; `labels` is the number of label names (multi-label only: targets are
/// [labels, B]).
Batch collate(std::span<const EncodedExample> examples, std::span<const std::int64_t> indices, LabelKind kind,
              std::int64_t labels);

/// The order of training. That of an epoch is a function of (count, seed, epoch) alone, the same on every machine:
/// to resume needs nothing but the position.
class Sampler {
 public:
  Sampler(std::int64_t count, std::uint64_t seed) : count_(count), seed_(seed) {}
  std::int64_t count() const { return count_; }
  /// A permutation of 0 … count - 1.
  std::vector<std::int64_t> epoch(std::int64_t number) const;

 private:
  std::int64_t count_;
  std::uint64_t seed_;
};

}  // namespace bertx
