// The kinds of distillation, what each reads, and the checks of its options.
#include <algorithm>
#include <vector>

#include "bertx/error.h"
#include "bertx/nearest.h"
#include "bertx/recipe.h"
#include "distillation/distiller.h"

namespace bertx::compress {
namespace {

struct Row {
  DistillationKind kind;
  std::unique_ptr<InnerLoss> (*inner)(const Distillation&);
  double hidden_weight, attention_weight;
};

constexpr Row kRows[] = {
    {{"response", "the teacher's answers", "1503.02531", ""}, nullptr, 0, 0},
    {{"pkd", "answers, and the hidden state of [CLS] in each layer but the last", "1908.09355",
      "hidden_weight teacher_layers"},
     make_pkd,
     100,
     0},
    {{"tinybert", "answers, hidden states and scores of attention of every layer", "1909.10351",
      "hidden_weight attention_weight"},
     make_tinybert,
     1,
     1},
    {{"minilm", "answers, attention and relations of values of the last layer", "2002.10957", "attention_weight"},
     make_minilm,
     0,
     1},
    {{"distilbert", "answers, and the directions of the last hidden states", "1910.01108", "hidden_weight"},
     make_distilbert,
     1,
     0}};

const Row& find_row(std::string_view name) {
  std::string known;
  std::vector<std::string_view> names;
  for (const Row& row : kRows) {
    if (row.kind.name == name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.kind.name);
    names.push_back(row.kind.name);
  }
  fail(ErrorKind::usage, "distillation: found \"", name, "\", expected one of ", known, did_you_mean(name, names));
}

void check(const Distillation& how, const Row& row) {
  const auto within = [](std::string_view name, double value, double least, double most, bool open) {
    if (value <= most && (open ? value > least : value >= least)) return;
    fail(ErrorKind::usage, name, ": found ", value, ", expected a number ", open ? "above " : "from ", least, " to ",
         most);
  };
  within("temperature", how.temperature.value_or(2.0), 0, 1e3, true);
  within("hard_weight", how.hard_weight, 0, 1, false);
  within("hidden_weight", how.hidden_weight.value_or(0.0), 0, 1e9, false);
  within("attention_weight", how.attention_weight.value_or(0.0), 0, 1e9, false);
  if (how.batch_size < 1) fail(ErrorKind::usage, "batch_size: found ", how.batch_size, ", expected 1 or more");
  if (how.teacher_layers != "skip" && how.teacher_layers != "last") {
    fail(ErrorKind::usage, "teacher_layers: found \"", how.teacher_layers, "\", expected skip or last");
  }
  const auto only_read = [&](std::string_view option, bool stated) {
    if (!stated || row.kind.takes(option)) return;
    fail(ErrorKind::usage, option, ": distillation ", row.kind.name, " does not read it",
         row.kind.options.empty() ? "" : text("; it reads ", row.kind.options));
  };
  only_read("hidden_weight", how.hidden_weight.has_value());
  only_read("attention_weight", how.attention_weight.has_value());
  only_read("teacher_layers", how.teacher_layers != "skip");
}

}  // namespace

bool DistillationKind::takes(std::string_view option) const {
  const std::vector<std::string_view> taken = words(options);
  return std::ranges::find(taken, option) != taken.end();
}

std::span<const DistillationKind> distillation_kinds() {
  static const std::vector<DistillationKind> listed = [] {
    std::vector<DistillationKind> all;
    for (const Row& row : kRows) all.push_back(row.kind);
    return all;
  }();
  return listed;
}

const DistillationKind& find_distillation(std::string_view name) { return find_row(name).kind; }

double hidden_weight_of(const Distillation& how) {
  return how.hidden_weight.value_or(find_row(how.kind).hidden_weight);
}
double attention_weight_of(const Distillation& how) {
  return how.attention_weight.value_or(find_row(how.kind).attention_weight);
}

std::unique_ptr<Objective> make_distillation(Backend& backend, Model teacher, const std::string& where,
                                             const Distillation& how) {
  const Row& row = find_row(how.kind);
  check(how, row);
  Distillation complete = how;
  if (row.kind.takes("hidden_weight")) complete.hidden_weight = hidden_weight_of(how);
  if (row.kind.takes("attention_weight")) complete.attention_weight = attention_weight_of(how);
  std::unique_ptr<InnerLoss> inner = row.inner ? row.inner(complete) : nullptr;
  return std::make_unique<Distiller>(Teacher(backend, std::move(teacher), where), std::move(complete),
                                     std::move(inner));
}

}  // namespace bertx::compress
