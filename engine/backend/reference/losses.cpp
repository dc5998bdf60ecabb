// Losses, each with its gradient.
#include <algorithm>
#include <cmath>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at, reference::index_at;

namespace {

constexpr std::int64_t kIgnored = -100;

// log Σ exp over n logits; logit(i) is the i-th.
template <class Logit>
double log_sum_exp(std::int64_t n, const Logit& logit) {
  double largest = logit(0), sum = 0;
  for (std::int64_t i = 1; i < n; ++i) largest = std::max(largest, logit(i));
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(logit(i) - largest);
  return largest + std::log(sum);
}

}  // namespace

// logits, dlogits [C, N], labels [1, N]
double ReferenceBackend::cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) {
  if (!dlogits.empty()) fill(dlogits, 0);
  double count = 0, loss = 0;
  for (std::int64_t n = 0; n < logits.cols; ++n) count += index_at(labels, n) != kIgnored;
  for (std::int64_t n = 0; n < logits.cols; ++n) {
    const std::int64_t label = index_at(labels, n);
    if (label == kIgnored) continue;
    const double lse = log_sum_exp(logits.rows, [&](std::int64_t c) { return at(logits, c, n); });
    loss += (lse - at(logits, label, n)) / count;
    for (std::int64_t c = 0; c < logits.rows && !dlogits.empty(); ++c) {
      at(dlogits, c, n) = scale / count * (std::exp(at(logits, c, n) - lse) - (c == label ? 1 : 0));
    }
  }
  return loss;
}

// logits, dlogits [2, T] (start, end); starts [1, B + 1]; labels [1, 2B] (all starts, then all ends)
double ReferenceBackend::span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) {
  const std::int64_t sequences = starts.cols - 1;
  if (!dlogits.empty()) fill(dlogits, 0);
  double loss = 0;
  for (std::int64_t side = 0; side < 2; ++side) {
    const auto label_of = [&](std::int64_t b) { return index_at(labels, side * sequences + b); };
    const auto length_of = [&](std::int64_t b) { return index_at(starts, b + 1) - index_at(starts, b); };
    const auto counts = [&](std::int64_t b) { return label_of(b) >= 0 && label_of(b) < length_of(b); };
    double count = 0;
    for (std::int64_t b = 0; b < sequences; ++b) count += counts(b);
    for (std::int64_t b = 0; b < sequences; ++b) {
      if (!counts(b)) continue;
      const std::int64_t first = index_at(starts, b);
      const double lse = log_sum_exp(length_of(b), [&](std::int64_t i) { return at(logits, side, first + i); });
      loss += (lse - at(logits, side, first + label_of(b))) / count / 2;
      for (std::int64_t i = 0; i < length_of(b) && !dlogits.empty(); ++i) {
        at(dlogits, side, first + i) =
            scale / count / 2 * (std::exp(at(logits, side, first + i) - lse) - (i == label_of(b) ? 1 : 0));
      }
    }
  }
  return loss;
}

// logits, targets, dlogits [m, n]
double ReferenceBackend::mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) {
  const double count = static_cast<double>(logits.size());
  double loss = 0;
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    for (std::int64_t j = 0; j < logits.cols; ++j) {
      const double difference = at(logits, i, j) - at(targets, i, j);
      loss += difference * difference / count;
      if (!dlogits.empty()) at(dlogits, i, j) = scale * 2 * difference / count;
    }
  }
  return loss;
}

// logits, targets, dlogits [m, n];  -y log σ(x) - (1 - y) log(1 - σ(x)) = max(x, 0) - x y + log(1 + exp(-|x|))
double ReferenceBackend::binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) {
  const double count = static_cast<double>(logits.size());
  double loss = 0;
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    for (std::int64_t j = 0; j < logits.cols; ++j) {
      const double x = at(logits, i, j), y = at(targets, i, j);
      loss += (std::max(x, 0.0) - x * y + std::log1p(std::exp(-std::abs(x)))) / count;
      if (!dlogits.empty()) at(dlogits, i, j) = scale / count * (1 / (1 + std::exp(-x)) - y);
    }
  }
  return loss;
}

}  // namespace bertx
