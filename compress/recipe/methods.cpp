// The tables of the families as one, and what a recipe becomes: a hook of the trainer, or a call.
#include "recipe/methods.h"

#include <algorithm>

#include "bertx/error.h"
#include "bertx/nearest.h"
#include "recipe/at_beginning.h"

namespace bertx::compress {
namespace {

const std::vector<Row>& table() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> all;
    for (const std::span<const Row> family :
         {pruning_methods(), structure_methods(), factorization_methods(), sharing_methods()}) {
      all.insert(all.end(), family.begin(), family.end());
    }
    return all;
  }();
  return rows;
}

const Row& find_row(std::string_view name) {
  const auto row = std::ranges::find_if(table(), [&](const Row& r) { return r.method.name == name; });
  if (row != table().end()) return *row;
  std::string known;
  std::vector<std::string_view> names;
  for (const Row& r : table()) {
    known += (known.empty() ? "" : ", ") + std::string(r.method.name);
    names.push_back(r.method.name);
  }
  fail(ErrorKind::usage, "method: found \"", name, "\", expected one of ", known, did_you_mean(name, names));
}

void expect_data(const Row& row, const Recipe& recipe, const Calibration& calibration) {
  if (!calibration.examples.empty()) return;
  const bool measures_loss = recipe.distribution == "sensitivity";
  // Methods that train always see the data of the training itself.
  if (!measures_loss && (!row.method.needs_data || row.method.training == Training::always)) return;
  fail(ErrorKind::usage, "method ", row.method.name, measures_loss ? " with distribution sensitivity" : "",
       ": found no labelled examples, expected training data to measure on");
}

}  // namespace

std::span<const Method> methods() {
  static const std::vector<Method> listed = [] {
    std::vector<Method> all;
    for (const Row& row : table()) all.push_back(row.method);
    return all;
  }();
  return listed;
}

const Method& find_method(std::string_view name) { return find_row(name).method; }

std::vector<std::string_view> words(std::string_view list) {
  std::vector<std::string_view> out;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(' ', begin), list.size());
    if (end > begin) out.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

bool Method::takes(std::string_view option) const {
  const std::vector<std::string_view> taken = words(options);
  return std::ranges::find(taken, option) != taken.end();
}

std::unique_ptr<TrainHook> make_compressor(const Recipe& recipe, const Calibration& calibration) {
  check(recipe);
  const Row& row = find_row(recipe.method);
  expect_data(row, recipe, calibration);
  if (row.make) return row.make(recipe, calibration);
  return std::make_unique<AtBeginning>(recipe, calibration, row.now);
}

void compress_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  check(recipe);
  const Row& row = find_row(recipe.method);
  if (!row.now) {
    fail(ErrorKind::usage, "method ", recipe.method,
         ": found no training, expected training data (--train_file or --task_name)");
  }
  expect_data(row, recipe, calibration);
  row.now(backend, model, recipe, calibration);
}

}  // namespace bertx::compress
