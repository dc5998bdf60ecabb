// The table of methods: to add one, write its file and a row here.
#include "methods.h"

#include <algorithm>
#include <array>

#include "bertx/error.h"

namespace bertx::compress {
namespace {

struct Row {
  Method method;
  std::unique_ptr<TrainHook> (*make)(const Recipe&, const Calibration&);
  void (*now)(Backend&, Model&, const Recipe&, const Calibration&);  // null: trains always
};

constexpr std::array<Row, 4> table{{
    {{"magnitude", "zeros the smallest weights, at once or gradually during training", "1510.00149, 1710.01878",
      Training::optional, false},
     make_magnitude,
     magnitude_now},
    {{"movement", "keeps the weights that move away from zero while fine-tuning (hard, top-k)", "2005.07683",
      Training::always, true},
     make_movement,
     nullptr},
    {{"soft_movement", "the same by a threshold on the scores; the sparsity follows from a penalty", "2005.07683",
      Training::always, true},
     make_soft_movement,
     nullptr},
    {{"heads", "cuts out the attention heads whose gates matter least to the loss", "1905.10650", Training::optional,
      true},
     make_heads,
     heads_now},
}};

constexpr auto listed = [] {
  std::array<Method, table.size()> out{};
  for (std::size_t i = 0; i < table.size(); ++i) out[i] = table[i].method;
  return out;
}();

const Row& find_row(std::string_view name) {
  const auto row = std::find_if(table.begin(), table.end(), [&](const Row& r) { return r.method.name == name; });
  if (row != table.end()) return *row;
  std::string known;
  for (const Row& r : table) known += (known.empty() ? "" : ", ") + std::string(r.method.name);
  fail(ErrorKind::usage, "method: found \"", name, "\", expected one of ", known);
}

void expect_data(const Row& row, const Calibration& calibration) {
  if (row.method.needs_data && calibration.examples.empty()) {
    fail(ErrorKind::usage, "method ", row.method.name,
         ": found no labelled examples, expected training data to measure gradients on");
  }
}

}  // namespace

std::span<const Method> methods() { return listed; }

const Method& find_method(std::string_view name) { return find_row(name).method; }

void check(const Recipe& recipe) {
  find_row(recipe.method);
  const auto expect = [](bool holds, const char* option, double found, const char* expected) {
    if (!holds) fail(ErrorKind::usage, option, ": found ", found, ", expected ", expected);
  };
  const auto share = [](double x) { return x >= 0.0 && x <= 1.0; };
  expect(recipe.sparsity >= 0.0 && recipe.sparsity < 1.0, "sparsity", recipe.sparsity, "at least 0 and less than 1");
  expect(recipe.initial_sparsity >= 0.0 && recipe.initial_sparsity <= recipe.sparsity, "initial_sparsity",
         recipe.initial_sparsity, "at least 0 and at most the sparsity");
  expect(share(recipe.schedule_begin), "schedule_begin", recipe.schedule_begin, "a share of the steps, 0 to 1");
  expect(share(recipe.schedule_end) && recipe.schedule_end > recipe.schedule_begin, "schedule_end", recipe.schedule_end,
         "a share of the steps, more than schedule_begin and at most 1");
  expect(recipe.mask_interval >= 1, "mask_interval", static_cast<double>(recipe.mask_interval), "at least 1 step");
  expect(recipe.learning_rate > 0.0, "learning_rate", recipe.learning_rate, "more than 0");
  expect(recipe.score_learning_rate > 0.0, "score_learning_rate", recipe.score_learning_rate, "more than 0");
  expect(!recipe.regularization || *recipe.regularization >= 0.0, "regularization", recipe.regularization.value_or(0.0),
         "at least 0");
  expect(recipe.threshold > 0.0 && recipe.threshold < 1.0, "threshold", recipe.threshold,
         "more than 0 and less than 1");
  expect(recipe.heads_per_round > 0.0 && recipe.heads_per_round <= 1.0, "heads_per_round", recipe.heads_per_round,
         "more than 0 and at most 1");
  expect(recipe.importance_samples >= 1, "importance_samples", static_cast<double>(recipe.importance_samples),
         "at least 1");
}

std::unique_ptr<TrainHook> make_compressor(const Recipe& recipe, const Calibration& calibration) {
  check(recipe);
  const Row& row = find_row(recipe.method);
  // Methods that train always see the data of the training itself.
  if (row.method.training != Training::always) expect_data(row, calibration);
  return row.make(recipe, calibration);
}

void compress_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  check(recipe);
  const Row& row = find_row(recipe.method);
  if (!row.now) {
    fail(ErrorKind::usage, "method ", recipe.method,
         ": found no training, expected training data (--train_file or --task_name)");
  }
  expect_data(row, calibration);
  row.now(backend, model, recipe, calibration);
}

}  // namespace bertx::compress
