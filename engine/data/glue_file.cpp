// One official file of a GLUE task as a Dataset.
#include <algorithm>
#include <optional>

#include "bertx/dataset.h"
#include "data/delimited.h"
#include "data/labels.h"
#include "data/texts.h"

namespace bertx {
namespace {

using namespace data;
namespace fs = std::filesystem;

std::string file_name(const TaskInfo& task, Split split) {
  const bool mnli = task.name == "mnli";
  switch (split) {
    case Split::train: return "train.tsv";
    case Split::validation: return mnli ? "dev_matched.tsv" : "dev.tsv";
    case Split::test: return mnli ? "test_matched.tsv" : "test.tsv";
    case Split::validation_mismatched:
    case Split::test_mismatched: break;
  }
  if (!mnli) fail(ErrorKind::usage, "found the split ", split_name(split), " of ", task.name, ", expected mnli");
  return split == Split::validation_mismatched ? "dev_mismatched.tsv" : "test_mismatched.tsv";
}

fs::path find_file(const TaskInfo& task, const fs::path& directory, const std::string& name) {
  std::error_code ignored;
  for (const fs::path& folder : {directory, directory / task.folder, directory / task.name}) {
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  fail(ErrorKind::io, "found neither ", (directory / name).string(), " nor ", (directory / task.folder / name).string(),
       ", expected the ", task.folder, " files of GLUE in one of these places");
}

// What a label of `task` may be, for a message.
std::string expected_label(const TaskInfo& task) {
  if (task.kind == LabelKind::regression) return "a finite number";
  return "one of " + listed(task.labels) + (task.numbered_labels ? text(" or 0 … ", task.labels.size() - 1) : "");
}

// Sets label or target; false where `field` is no label of `task`.
bool parse_label(const TaskInfo& task, std::string_view field, Example& example) {
  field = trimmed(field);
  if (task.kind == LabelKind::regression) {
    const auto number = parse_double(field);
    if (!number) return false;
    example.target = static_cast<float>(*number);
    return example.target - example.target == 0;
  }
  const auto number = task.numbered_labels ? parse_int(field) : std::nullopt;
  if (number && *number >= 0 && *number < static_cast<std::int64_t>(task.labels.size())) {
    example.label = static_cast<std::int32_t>(*number);
    return true;
  }
  const auto named = find_label(task.labels, field);
  if (named) example.label = *named;
  return named.has_value();
}

// The columns of one file once the width of its rows is known.
struct ColumnsOfFile {
  std::size_t text = 0;
  std::optional<std::size_t> text_pair, label;
};

ColumnsOfFile place(const FileLayout& layout, std::size_t width) {
  ColumnsOfFile columns;
  columns.text = static_cast<std::size_t>(layout.text);
  if (layout.text_pair != FileLayout::absent) columns.text_pair = static_cast<std::size_t>(layout.text_pair);
  if (layout.label == FileLayout::last) columns.label = width - 1;
  if (layout.label >= 0) columns.label = static_cast<std::size_t>(layout.label);
  return columns;
}

// The fewest fields that a row of this layout can have.
std::size_t least_width(const FileLayout& layout) {
  const int texts = std::max(layout.text, layout.text_pair);
  return static_cast<std::size_t>(std::max(texts + (layout.label == FileLayout::last ? 1 : 0), layout.label) + 1);
}

// Reads the header, or sees to it that there is none, and sets the width of the rows.
std::size_t begin_rows(const TaskInfo& task, const FileLayout& layout, DelimitedReader& reader) {
  const std::size_t least = least_width(layout);
  std::size_t width = least;
  if (layout.header) {
    std::vector<std::string> header;
    if (!reader.next(header)) {
      fail(ErrorKind::bad_input, shown(reader.file().path()), ": found nothing, expected a row of column names");
    }
    width = header.size();
    if (width < least) {
      reader.fail_here("found ", width, " column(s), expected at least ", least, " in a file of ", task.folder);
    }
    Example row;
    const auto label = place(layout, width).label;
    if (label && parse_label(task, header[*label], row)) {
      reader.fail_here("found a row of data (field ", *label + 1, " is the label ", quote(header[*label]),
                       "), expected a row of column names");
    }
  }
  reader.set_width(width);
  if (task.skip_short_rows) reader.skip_rows_shorter_than(least);
  return width;
}

}  // namespace

Dataset load_task(const TaskInfo& task, const fs::path& directory, Split split,
                  const std::vector<std::string>* model_labels) {
  const fs::path path = find_file(task, directory, file_name(task, split));
  const bool test = split == Split::test || split == Split::test_mismatched;
  const FileLayout& layout = test ? task.test : task.labelled;
  Dataset data;
  data.name = task.name;
  data.kind = test ? LabelKind::none : task.kind;
  data.labels = task.labels;

  DelimitedReader reader(path, Delimiter::tab);
  const ColumnsOfFile columns = place(layout, begin_rows(task, layout, reader));
  std::vector<std::string> fields;
  while (reader.next(fields)) {
    Example example;
    example.line = reader.line();
    if (columns.label && !parse_label(task, fields[*columns.label], example)) {
      const bool header = !layout.header && reader.line() == 1;
      reader.fail_here("field ", *columns.label + 1, " (label): found ", quote(fields[*columns.label]), ", expected ",
                       expected_label(task), header ? text("; files of ", task.folder, " have no header") : "");
    }
    example.text_a = std::move(fields[columns.text]);
    example.pair = columns.text_pair.has_value();
    if (columns.text_pair) example.text_b = std::move(fields[*columns.text_pair]);
    data.examples.push_back(std::move(example));
  }
  if (data.examples.empty()) fail(ErrorKind::bad_input, shown(path), ": found no rows of data, expected at least one");
  if (reader.skipped() > 0) {
    data.warnings.push_back(text(shown(path), ": ", reader.skipped(), " rows with too few fields were skipped"));
  }
  warn_of_blank_texts(data, path);
  if (model_labels) relabel(data, *model_labels);
  return data;
}

}  // namespace bertx
