#include "bertx/metrics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

namespace bertx {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double divide(double a, double b) { return b == 0 ? 0 : a / b; }

template <class T>
bool constant(std::span<const T> values) {
  return std::all_of(values.begin(), values.end(), [&](T v) { return v == values[0]; });
}

double correlation(std::span<const double> x, std::span<const double> y) {
  if (x.size() < 2 || constant(x) || constant(y)) return kUndefined;
  const auto count = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / count;
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.0) / count;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

std::vector<double> widened(std::span<const float> values) { return {values.begin(), values.end()}; }

// 1 for the smallest; equal values share the mean of their ranks.
std::vector<double> ranks(std::span<const float> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first + 1;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    const double shared = 0.5 * static_cast<double>(first + 1 + last);
    for (; first < last; ++first) result[order[first]] = shared;
  }
  return result;
}

}  // namespace

double accuracy(std::span<const std::int32_t> predictions, std::span<const std::int32_t> labels) {
  assert(predictions.size() == labels.size());
  if (labels.empty()) return kUndefined;
  std::size_t right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) right += predictions[i] == labels[i] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

double f1(std::span<const std::int32_t> predictions, std::span<const std::int32_t> labels, std::int32_t positive) {
  assert(predictions.size() == labels.size());
  double both = 0, predicted = 0, there = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    both += predictions[i] == positive && labels[i] == positive ? 1 : 0;
    predicted += predictions[i] == positive ? 1 : 0;
    there += labels[i] == positive ? 1 : 0;
  }
  return divide(2 * both, predicted + there);
}

// Gorodkin's form for any number of classes: a correlation of the two assignments, from their counts.
double matthews_correlation(std::span<const std::int32_t> predictions, std::span<const std::int32_t> labels) {
  assert(predictions.size() == labels.size());
  std::int32_t classes = 0;
  for (const auto& values : {predictions, labels}) {
    for (const std::int32_t c : values) classes = std::max(classes, c + 1);
  }
  std::vector<double> predicted(static_cast<std::size_t>(classes)), there(predicted.size());
  double right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ++predicted[static_cast<std::size_t>(predictions[i])];
    ++there[static_cast<std::size_t>(labels[i])];
    right += predictions[i] == labels[i] ? 1 : 0;
  }
  const auto count = static_cast<double>(labels.size());
  const double both = right * count - std::inner_product(predicted.begin(), predicted.end(), there.begin(), 0.0);
  const double pp = count * count - std::inner_product(predicted.begin(), predicted.end(), predicted.begin(), 0.0);
  const double tt = count * count - std::inner_product(there.begin(), there.end(), there.begin(), 0.0);
  return divide(both, std::sqrt(pp) * std::sqrt(tt));
}

double mse(std::span<const float> predictions, std::span<const float> targets) {
  assert(predictions.size() == targets.size());
  if (targets.empty()) return kUndefined;
  double sum = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const double difference = static_cast<double>(predictions[i]) - targets[i];
    sum += difference * difference;
  }
  return sum / static_cast<double>(targets.size());
}

double pearson(std::span<const float> predictions, std::span<const float> targets) {
  assert(predictions.size() == targets.size());
  return correlation(widened(predictions), widened(targets));
}

double spearmanr(std::span<const float> predictions, std::span<const float> targets) {
  assert(predictions.size() == targets.size());
  return correlation(ranks(predictions), ranks(targets));
}

}  // namespace bertx
