// How good predictions are: the metrics of GLUE and of own files, with the values scikit-learn and scipy give.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bertx/batch.h"
#include "bertx/dataset.h"
#include "bertx/tensor.h"

namespace bertx {

// Each takes two equally long ranges; NaN stands for "not defined".

double accuracy(std::span<const std::int32_t> predictions, std::span<const std::int32_t> labels);
/// Of the class `positive` against the rest; 0 where that class is neither predicted nor there.
double f1(std::span<const std::int32_t> predictions, std::span<const std::int32_t> labels, std::int32_t positive = 1);
/// Any number of classes; 0 where predictions or labels are all of one class, as in scikit-learn.
double matthews_correlation(std::span<const std::int32_t> predictions, std::span<const std::int32_t> labels);
double mse(std::span<const float> predictions, std::span<const float> targets);
/// NaN for fewer than two values or constant ones.
double pearson(std::span<const float> predictions, std::span<const float> targets);
/// Ties share the mean of their ranks. NaN as in pearson.
double spearmanr(std::span<const float> predictions, std::span<const float> targets);

/// What a model said about a whole set, collected batch by batch.
struct Predictions {
  LabelKind kind = LabelKind::single_label;
  std::int64_t outputs = 0;
  std::vector<float> logits;         ///< [examples, outputs]
  std::vector<std::int32_t> labels;  ///< [examples] single label; -100 is left out of the metrics
  std::vector<float> targets;        ///< [examples, outputs] regression and multi-label

  /// logits [outputs, B] f32 or f64 in host memory, as a head gives them for `batch`.
  void append(const Tensor& batch_logits, const Batch& batch);
  std::int64_t examples() const { return outputs > 0 ? static_cast<std::int64_t>(logits.size()) / outputs : 0; }
  /// [examples]: the class with the highest logit, the first of equal ones.
  std::vector<std::int32_t> classes() const;
};

/// In the order asked for. A value is NaN where the metric is not defined; it is written as null.
struct MetricValues {
  std::vector<std::pair<std::string, double>> values;
  std::vector<std::string> warnings;  ///< why a value is NaN, or 0 by convention
};

/// accuracy | mse, pearson, spearmanr | f1_micro, accuracy (of whole rows)
std::vector<std::string_view> default_metrics(LabelKind kind);

/// Whether a higher value is better: all but mse and loss.
bool higher_is_better(std::string_view metric);

/// `names` of accuracy, f1, matthews_correlation (single label); mse, pearson, spearmanr (regression); f1_micro,
/// accuracy (multi-label: a label holds where its logit is above 0). Throws Error(usage) for a name that is unknown
/// or does not go with the kind, Error(numeric) for a logit that is not finite.
MetricValues compute_metrics(std::span<const std::string_view> names, const Predictions& predictions,
                             std::int32_t positive = 1);

}  // namespace bertx
