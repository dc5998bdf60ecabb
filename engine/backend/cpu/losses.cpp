// Losses, each with its gradient; sums in double, in the order of the tokens.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

constexpr std::int32_t kIgnored = -100;

float& element(Tensor x, std::int64_t i, std::int64_t j) { return x.as<float>()[i * x.stride + j]; }

}  // namespace

// logits, dlogits [C, N], labels [1, N]. Threads take tokens, in whole vectors; C may be a vocabulary.
double CpuBackend::cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  const std::int64_t n = logits.cols, lanes = kernels.lanes;
  const std::int32_t* const label = labels.as<std::int32_t>();
  const auto count = static_cast<double>(n - std::count(label, label + n, kIgnored));
  double* const sum = cpu::scratch<double>(cpu::Scratch::sums, 3 * n);  // and behind it two rows of floats
  float* const largest = reinterpret_cast<float*>(sum + n);             // then the log of the sum
  float* const factor = reinterpret_cast<float*>(sum + 2 * n);
  const auto for_tokens = [&](const auto& body) {
    sparse::parallel_ranges((n + lanes - 1) / lanes, cpu::row_grain(logits.rows * lanes),
                            [&](std::int64_t first, std::int64_t last) {
                              body(cpu::Range{first * lanes, std::min(last * lanes, n)});
                            });
  };
  for_tokens(
      [&](cpu::Range cols) { kernels.softmax_sums(cpu::const_matrix(logits), logits.rows, cols, largest, sum); });
  double loss = 0;
  for (std::int64_t t = 0; t < n; ++t) {
    const bool counts = label[t] != kIgnored;
    assert(!counts || (label[t] >= 0 && label[t] < logits.rows));
    const double lse = static_cast<double>(largest[t]) + std::log(sum[t]);
    if (counts) loss += lse - static_cast<double>(element(logits, label[t], t));
    largest[t] = static_cast<float>(lse);
    factor[t] = counts ? static_cast<float>(scale / count) : 0.0f;
  }
  if (!dlogits.empty()) {
    for_tokens([&](cpu::Range cols) {
      kernels.softmax_grad(cpu::const_matrix(logits), logits.rows, cols, largest, factor, cpu::matrix(dlogits));
    });
    for (std::int64_t t = 0; t < n; ++t) {
      if (label[t] != kIgnored) element(dlogits, label[t], t) -= factor[t];
    }
  }
  return count > 0 ? loss / count : 0.0;
}

// logits, dlogits [2, T] (start, end); starts [1, B + 1]; labels [1, 2B] (all starts, then all ends)
double CpuBackend::span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) {
  const std::int32_t *const start = starts.as<std::int32_t>(), *const label = labels.as<std::int32_t>();
  const std::int64_t sequences = starts.cols - 1;
  if (!dlogits.empty()) fill(dlogits, 0);
  double loss = 0;
  for (std::int64_t side = 0; side < 2; ++side) {
    const std::int32_t* const wanted = label + side * sequences;
    const auto counts = [&](std::int64_t b) { return wanted[b] >= 0 && wanted[b] < start[b + 1] - start[b]; };
    double count = 0;
    for (std::int64_t b = 0; b < sequences; ++b) count += counts(b);
    for (std::int64_t b = 0; b < sequences; ++b) {
      if (!counts(b)) continue;
      const float* const row = &element(logits, side, 0);
      const double largest = *std::max_element(row + start[b], row + start[b + 1]);
      double sum = 0;
      for (std::int64_t t = start[b]; t < start[b + 1]; ++t) sum += std::exp(static_cast<double>(row[t]) - largest);
      const double lse = largest + std::log(sum);
      const std::int64_t target = start[b] + wanted[b];
      loss += (lse - static_cast<double>(row[target])) / count / 2;
      if (dlogits.empty()) continue;
      for (std::int64_t t = start[b]; t < start[b + 1]; ++t) {
        const double probability = std::exp(static_cast<double>(row[t]) - lse);
        element(dlogits, side, t) = static_cast<float>(scale / count / 2 * (probability - (t == target ? 1 : 0)));
      }
    }
  }
  return loss;
}

// logits, targets, dlogits [m, n]
double CpuBackend::mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) {
  const auto count = static_cast<double>(logits.size());
  double loss = 0;
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    for (std::int64_t j = 0; j < logits.cols; ++j) {
      const double difference =
          static_cast<double>(element(logits, i, j)) - static_cast<double>(element(targets, i, j));
      loss += difference * difference / count;
      if (!dlogits.empty()) element(dlogits, i, j) = static_cast<float>(scale * 2 * difference / count);
    }
  }
  return loss;
}

// logits, targets, dlogits [m, n];  -y log σ(x) - (1 - y) log(1 - σ(x)) = max(x, 0) - x y + log(1 + exp(-|x|))
double CpuBackend::binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) {
  const auto count = static_cast<double>(logits.size());
  double loss = 0;
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    for (std::int64_t j = 0; j < logits.cols; ++j) {
      const double x = element(logits, i, j), y = element(targets, i, j);
      loss += (std::max(x, 0.0) - x * y + std::log1p(std::exp(-std::abs(x)))) / count;
      if (!dlogits.empty()) element(dlogits, i, j) = static_cast<float>(scale / count * (1 / (1 + std::exp(-x)) - y));
    }
  }
  return loss;
}

}  // namespace bertx
