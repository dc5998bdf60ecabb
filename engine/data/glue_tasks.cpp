// The nine tasks of GLUE: names, labels, metrics and the columns of their files.
#include <algorithm>
#include <array>

#include "bertx/dataset.h"
#include "bertx/error.h"
#include "data/labels.h"

namespace bertx {
namespace {

using enum LabelKind;

constexpr int kNone = FileLayout::absent, kLast = FileLayout::last;

const std::array<TaskInfo, 9>& tasks() {
  // clang-format off
  static const std::array<TaskInfo, 9> all = {{
      {"cola", "CoLA", single_label, {"unacceptable", "acceptable"}, true, {"matthews_correlation"},
       {3, kNone, 1, false}, {1, kNone, kNone, true}, false},
      {"sst2", "SST-2", single_label, {"negative", "positive"}, true, {"accuracy"},
       {0, kNone, 1, true}, {1, kNone, kNone, true}, false},
      {"mrpc", "MRPC", single_label, {"not_equivalent", "equivalent"}, true, {"accuracy", "f1"},
       {3, 4, 0, true}, {3, 4, kNone, true}, false},
      {"qqp", "QQP", single_label, {"not_duplicate", "duplicate"}, true, {"accuracy", "f1"},
       {3, 4, 5, true}, {1, 2, kNone, true}, true},
      {"stsb", "STS-B", regression, {}, false, {"pearson", "spearmanr"},
       {7, 8, kLast, true}, {7, 8, kNone, true}, false},
      {"mnli", "MNLI", single_label, {"entailment", "neutral", "contradiction"}, false, {"accuracy"},
       {8, 9, kLast, true}, {8, 9, kNone, true}, false},
      {"qnli", "QNLI", single_label, {"entailment", "not_entailment"}, false, {"accuracy"},
       {1, 2, kLast, true}, {1, 2, kNone, true}, false},
      {"rte", "RTE", single_label, {"entailment", "not_entailment"}, false, {"accuracy"},
       {1, 2, kLast, true}, {1, 2, kNone, true}, false},
      {"wnli", "WNLI", single_label, {"not_entailment", "entailment"}, true, {"accuracy"},
       {1, 2, kLast, true}, {1, 2, kNone, true}, false},
  }};
  // clang-format on
  return all;
}

}  // namespace

const TaskInfo* find_task(std::string_view name) {
  std::string wanted = data::lower_ascii(name);
  std::erase_if(wanted, [](char c) { return c == '-' || c == '_'; });
  const auto found = std::find_if(tasks().begin(), tasks().end(), [&](const TaskInfo& t) { return t.name == wanted; });
  return found == tasks().end() ? nullptr : &*found;
}

std::vector<std::string_view> task_names() {
  std::vector<std::string_view> names;
  for (const TaskInfo& task : tasks()) names.push_back(task.name);
  return names;
}

std::int32_t positive_class(const TaskInfo& task, const std::vector<std::string>& labels) {
  if (task.labels.size() < 2) return 1;
  return data::find_label(labels, task.labels[1]).value_or(1);
}

}  // namespace bertx
