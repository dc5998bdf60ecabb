// The expected values were computed once with scikit-learn 1.9.1 and scipy 1.17.1 from the same numbers.
#include "bertx/metrics.h"

#include <cmath>

#include "files.h"

namespace bertx::test {
namespace {

using Ids = std::vector<std::int32_t>;
using Reals = std::vector<float>;

const Ids kPredicted = {1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1}, kThere = {1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1};
const Reals kGuesses = {2.5f, 0.5f, 3.25f, 3.25f, 4.75f, 1.0f, 2.5f, 5.0f};
const Reals kTargets = {2.0f, 1.0f, 3.0f, 4.0f, 4.5f, 1.0f, 3.0f, 4.5f};

TEST(Metrics, TwoClasses) {
  EXPECT_NEAR(accuracy(kPredicted, kThere), 0.75, 1e-12);
  EXPECT_NEAR(f1(kPredicted, kThere), 0.7692307692307693, 1e-12);
  EXPECT_NEAR(f1(kPredicted, kThere, 0), 0.7272727272727273, 1e-12);
  EXPECT_NEAR(matthews_correlation(kPredicted, kThere), 0.50709255283711, 1e-12);
}

TEST(Metrics, ThreeClasses) {
  const Ids predicted = {0, 2, 1, 1, 0, 2, 2, 1, 0, 1}, there = {0, 1, 1, 2, 0, 2, 2, 0, 0, 1};
  EXPECT_NEAR(accuracy(predicted, there), 0.7, 1e-12);
  EXPECT_NEAR(matthews_correlation(predicted, there), 0.5606060606060606, 1e-12);
}

TEST(Metrics, OneClassIsZeroByConvention) {
  EXPECT_EQ(matthews_correlation(Ids{1, 0, 1, 1}, Ids{1, 1, 1, 1}), 0);
  EXPECT_EQ(matthews_correlation(Ids{1, 1}, Ids{1, 1}), 0);
  EXPECT_EQ(matthews_correlation(Ids{1, 1, 1}, Ids{0, 1, 1}), 0);
  EXPECT_EQ(f1(Ids{0, 0}, Ids{0, 0}), 0);
}

TEST(Metrics, Regression) {
  EXPECT_NEAR(mse(kGuesses, kTargets), 0.2109375, 1e-12);
  EXPECT_NEAR(pearson(kGuesses, kTargets), 0.9529529831666829, 1e-12);
  EXPECT_NEAR(spearmanr(kGuesses, kTargets), 0.9570732259820033, 1e-12);  // with ties on both sides
  Reals negated = kTargets;
  for (float& value : negated) value = -value;
  EXPECT_NEAR(pearson(kGuesses, negated), -0.9529529831666829, 1e-12);
  EXPECT_NEAR(spearmanr(kGuesses, negated), -0.9570732259820033, 1e-12);
  EXPECT_EQ(pearson(kGuesses, kGuesses), 1);
}

TEST(Metrics, CorrelationOfConstantsIsNotDefined) {
  const Reals constant(8, 0.1f);  // its mean in double is not exactly 0.1f
  EXPECT_TRUE(std::isnan(pearson(kGuesses, constant)));
  EXPECT_TRUE(std::isnan(spearmanr(constant, kTargets)));
  EXPECT_TRUE(std::isnan(pearson(Reals{1}, Reals{2})));
  EXPECT_TRUE(std::isnan(accuracy({}, {})));
}

Predictions two_class_predictions(const Ids& predicted, const Ids& there) {
  // Two batches, logits [2, B] with a stride beyond B.
  Predictions predictions;
  const std::int64_t half = static_cast<std::int64_t>(predicted.size()) / 2;
  for (std::int64_t begin : {std::int64_t{0}, half}) {
    const std::int64_t count = begin == 0 ? half : static_cast<std::int64_t>(predicted.size()) - half,
                       stride = count + 3;
    Reals logits(static_cast<std::size_t>(2 * stride), NAN);
    Batch batch;
    for (std::int64_t b = 0; b < count; ++b) {
      const auto at = static_cast<std::size_t>(begin + b);
      logits[static_cast<std::size_t>(b)] = 0.25f;
      logits[static_cast<std::size_t>(stride + b)] = predicted[at] == 1 ? 0.5f : 0.25f;  // equal ones: the first counts
      batch.labels.push_back(there[at]);
    }
    predictions.append({logits.data(), 2, count, stride, DType::f32}, batch);
  }
  return predictions;
}

TEST(ComputeMetrics, SingleLabelInTheOrderAskedFor) {
  const Predictions predictions = two_class_predictions(kPredicted, kThere);
  EXPECT_EQ(predictions.examples(), 12);
  EXPECT_EQ(predictions.classes(), kPredicted);
  const std::string_view names[] = {"f1", "accuracy", "matthews_correlation"};
  const MetricValues result = compute_metrics(names, predictions);
  ASSERT_EQ(result.values.size(), 3u);
  EXPECT_EQ(result.values[0].first, "f1");
  EXPECT_NEAR(result.values[0].second, 0.7692307692307693, 1e-12);
  EXPECT_NEAR(result.values[1].second, 0.75, 1e-12);
  EXPECT_NEAR(result.values[2].second, 0.50709255283711, 1e-12);
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_NEAR(compute_metrics(names, predictions, 0).values[0].second, 0.7272727272727273, 1e-12);
}

TEST(ComputeMetrics, LeavesOutWhatHasNoLabel) {
  const std::string_view names[] = {"accuracy"};
  EXPECT_NEAR(compute_metrics(names, two_class_predictions({1, 0, 1, 1}, {1, -100, 0, -100})).values[0].second, 0.5, 0);
  const MetricValues none = compute_metrics(names, two_class_predictions({1, 0}, {-100, -100}));
  EXPECT_TRUE(std::isnan(none.values[0].second));
  EXPECT_EQ(none.warnings.size(), 1u);
}

TEST(ComputeMetrics, WarnsOfAOneClassSet) {
  const std::string_view names[] = {"matthews_correlation", "f1"};
  const MetricValues result = compute_metrics(names, two_class_predictions({0, 0, 0, 0}, {0, 0, 0, 0}));
  EXPECT_EQ(result.values[0].second, 0);
  EXPECT_EQ(result.values[1].second, 0);
  ASSERT_EQ(result.warnings.size(), 2u);
  EXPECT_NE(result.warnings[0].find("one class"), std::string::npos);
}

TEST(ComputeMetrics, RegressionFromDoubleLogits) {
  Predictions predictions;
  predictions.kind = LabelKind::regression;
  std::vector<double> logits(kGuesses.begin(), kGuesses.end());
  Batch batch;
  batch.targets = kTargets;
  predictions.append(view(logits.data(), 1, 8, DType::f64), batch);
  const MetricValues result = compute_metrics(default_metrics(LabelKind::regression), predictions);
  EXPECT_NEAR(result.values[0].second, 0.2109375, 1e-12);
  EXPECT_NEAR(result.values[1].second, 0.9529529831666829, 1e-12);
  EXPECT_NEAR(result.values[2].second, 0.9570732259820033, 1e-12);
  std::fill(predictions.targets.begin(), predictions.targets.end(), 2.0f);
  const MetricValues constant = compute_metrics(default_metrics(LabelKind::regression), predictions);
  EXPECT_TRUE(std::isnan(constant.values[1].second));
  EXPECT_EQ(constant.warnings.size(), 2u);
}

TEST(ComputeMetrics, MultiLabelFromFeatureMajorTargets) {
  Predictions predictions;
  predictions.kind = LabelKind::multi_label;
  // [labels, B]; rows of the set: 101 000 110 011 predicted, 100 000 110 111 there
  Reals logits = {1, -1, 2, -1, -1, -1, 1, 3, 1, 0, -1, 1};
  Batch batch;
  batch.targets = {1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1};
  predictions.append(view(logits.data(), 3, 4, DType::f32), batch);
  const MetricValues result = compute_metrics(default_metrics(LabelKind::multi_label), predictions);
  EXPECT_EQ(result.values[0].first, "f1_micro");
  EXPECT_NEAR(result.values[0].second, 0.8333333333333334, 1e-12);
  EXPECT_NEAR(result.values[1].second, 0.5, 1e-12);
}

TEST(ComputeMetrics, RefusesUnknownNamesAndBrokenLogits) {
  Predictions predictions = two_class_predictions({1, 0}, {1, 0});
  const std::string_view unknown[] = {"pearson"}, known[] = {"accuracy"};
  expect_error(ErrorKind::usage, {"pearson", "single_label", "accuracy", "f1"},
               [&] { compute_metrics(unknown, predictions); });
  predictions.logits[2] = NAN;
  expect_error(ErrorKind::numeric, {"example 1", "nan", "finite"}, [&] { compute_metrics(known, predictions); });
}

TEST(Metrics, WhichWayIsBetter) {
  EXPECT_TRUE(higher_is_better("eval_accuracy"));
  EXPECT_FALSE(higher_is_better("eval_loss"));
  EXPECT_FALSE(higher_is_better("mse"));
}

}  // namespace
}  // namespace bertx::test
