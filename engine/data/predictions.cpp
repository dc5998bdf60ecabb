// What a model said about a whole set, and the metrics that follow from it.
#include <algorithm>
#include <cassert>
#include <cmath>

#include "bertx/error.h"
#include "bertx/metrics.h"

namespace bertx {

// batch_logits [outputs, B] -> rows [B, outputs]
void Predictions::append(const Tensor& batch_logits, const Batch& batch) {
  assert(outputs == 0 || outputs == batch_logits.rows);
  assert(batch_logits.dtype == DType::f32 || batch_logits.dtype == DType::f64);
  outputs = batch_logits.rows;
  const std::int64_t count = batch_logits.cols;
  for (std::int64_t b = 0; b < count; ++b) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      const std::int64_t at = o * batch_logits.stride + b;
      logits.push_back(batch_logits.dtype == DType::f32 ? batch_logits.as<float>()[at]
                                                        : static_cast<float>(batch_logits.as<double>()[at]));
    }
  }
  if (!batch.labels.empty()) {
    assert(static_cast<std::int64_t>(batch.labels.size()) == count);
    labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
  }
  if (!batch.targets.empty()) {
    assert(static_cast<std::int64_t>(batch.targets.size()) == outputs * count);
    for (std::int64_t b = 0; b < count; ++b) {
      for (std::int64_t o = 0; o < outputs; ++o)
        targets.push_back(batch.targets[static_cast<std::size_t>(o * count + b)]);
    }
  }
}

std::vector<std::int32_t> Predictions::classes() const {
  std::vector<std::int32_t> result;
  result.reserve(static_cast<std::size_t>(examples()));
  for (auto row = logits.begin(); row != logits.end(); row += outputs) {
    result.push_back(static_cast<std::int32_t>(std::max_element(row, row + outputs) - row));
  }
  return result;
}

std::vector<std::string_view> default_metrics(LabelKind kind) {
  switch (kind) {
    case LabelKind::none: return {};
    case LabelKind::single_label: return {"accuracy"};
    case LabelKind::regression: return {"mse", "pearson", "spearmanr"};
    case LabelKind::multi_label: return {"f1_micro", "accuracy"};
  }
  return {};
}

bool higher_is_better(std::string_view metric) {
  if (metric.starts_with("eval_")) metric.remove_prefix(5);
  return metric != "loss" && metric != "mse";
}

namespace {

bool one_class(std::span<const std::int32_t> values) {
  return std::all_of(values.begin(), values.end(), [&](std::int32_t v) { return v == values[0]; });
}

// f1_micro of all decisions, and the share of rows with every decision right, from logits and targets [N, outputs].
double multi_label_metric(std::string_view name, const Predictions& predictions) {
  double both = 0, predicted = 0, there = 0, rows = 0;
  const auto outputs = static_cast<std::size_t>(predictions.outputs);
  for (std::size_t i = 0; i < predictions.targets.size(); i += outputs) {
    bool all_right = true;
    for (std::size_t k = i; k < i + outputs; ++k) {
      const bool says = predictions.logits[k] > 0, is = predictions.targets[k] > 0.5f;
      both += says && is ? 1 : 0;
      predicted += says ? 1 : 0;
      there += is ? 1 : 0;
      all_right = all_right && says == is;
    }
    rows += all_right ? 1 : 0;
  }
  if (name == "accuracy") return rows / static_cast<double>(predictions.examples());
  return predicted + there == 0 ? 0 : 2 * both / (predicted + there);
}

double single_label_metric(std::string_view name, std::span<const std::int32_t> classes,
                           std::span<const std::int32_t> labels, std::int32_t positive, MetricValues& result) {
  if (name == "accuracy") return accuracy(classes, labels);
  if (name == "f1") {
    const auto hit = [&](std::int32_t c) { return c == positive; };
    if (std::none_of(classes.begin(), classes.end(), hit) && std::none_of(labels.begin(), labels.end(), hit)) {
      result.warnings.push_back("f1 is not defined: class " + std::to_string(positive) +
                                " is neither predicted nor there; 0 by convention");
    }
    return f1(classes, labels, positive);
  }
  if (one_class(classes) || one_class(labels)) {
    result.warnings.push_back(std::string("matthews_correlation is not defined: all ") +
                              (one_class(labels) ? "labels" : "predictions") + " are of one class; 0 by convention");
  }
  return matthews_correlation(classes, labels);
}

double regression_metric(std::string_view name, const Predictions& predictions, MetricValues& result) {
  if (name == "mse") return mse(predictions.logits, predictions.targets);
  const double value = name == "pearson" ? pearson(predictions.logits, predictions.targets)
                                         : spearmanr(predictions.logits, predictions.targets);
  if (std::isnan(value)) {
    result.warnings.push_back(std::string(name) +
                              " is not defined: fewer than two examples, or all predictions or all "
                              "targets are the same");
  }
  return value;
}

void check_names(std::span<const std::string_view> names, LabelKind kind) {
  static constexpr std::string_view single[] = {"accuracy", "f1", "matthews_correlation"};
  static constexpr std::string_view numbers[] = {"mse", "pearson", "spearmanr"};
  static constexpr std::string_view multi[] = {"f1_micro", "accuracy"};
  const std::span<const std::string_view> known = kind == LabelKind::single_label ? std::span(single)
                                                  : kind == LabelKind::regression ? std::span(numbers)
                                                  : kind == LabelKind::multi_label
                                                      ? std::span<const std::string_view>(multi)
                                                      : std::span<const std::string_view>();
  for (const std::string_view name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string list;
    for (const std::string_view k : known) list += (list.empty() ? "" : ", ") + std::string(k);
    fail(ErrorKind::usage, "found the metric \"", name, "\", expected for ", label_kind_name(kind),
         " data: ", list.empty() ? "none" : list);
  }
}

}  // namespace

MetricValues compute_metrics(std::span<const std::string_view> names, const Predictions& predictions,
                             std::int32_t positive) {
  check_names(names, predictions.kind);
  for (std::size_t i = 0; i < predictions.logits.size(); ++i) {
    if (!std::isfinite(predictions.logits[i])) {
      fail(ErrorKind::numeric, "found the logit ", predictions.logits[i], " for example ",
           i / static_cast<std::size_t>(predictions.outputs), " (from 0), expected a finite number");
    }
  }
  std::vector<std::int32_t> classes, labels;  // of the examples that count
  if (predictions.kind == LabelKind::single_label) {
    const std::vector<std::int32_t> all = predictions.classes();
    for (std::size_t i = 0; i < predictions.labels.size(); ++i) {
      if (predictions.labels[i] == -100) continue;
      classes.push_back(all[i]);
      labels.push_back(predictions.labels[i]);
    }
  }
  const bool nothing = predictions.kind == LabelKind::single_label ? labels.empty() : predictions.targets.empty();
  MetricValues result;
  if (nothing && !names.empty()) result.warnings.push_back("no example has a label: metrics are not defined");
  for (const std::string_view name : names) {
    double value = std::nan("");
    if (!nothing) {
      switch (predictions.kind) {
        case LabelKind::none: break;
        case LabelKind::single_label: value = single_label_metric(name, classes, labels, positive, result); break;
        case LabelKind::regression: value = regression_metric(name, predictions, result); break;
        case LabelKind::multi_label: value = multi_label_metric(name, predictions); break;
      }
    }
    result.values.emplace_back(name, value);
  }
  return result;
}

}  // namespace bertx
