// Masks of pruning, gradient norm, AdamW: all bound by memory, so all threads share the elements of all tensors.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu.h"
#include "backend/cpu/subnormals.h"
#include "bertx/sparse/parallel.h"

namespace bertx {

namespace {

/// Elements of one unit of work: fixed, so that sums do not depend on the number of threads.
constexpr std::int64_t kUnit = 16384;

std::int64_t units_of(std::int64_t elements) { return (elements + kUnit - 1) / kUnit; }

/// Calls body(item, first element, count, unit) for the units of all items, on all threads; size(item) is its elements.
/// Threads share the elements, not the units: items may be as small as one row of a table. A unit belongs to the thread
/// that has its first element.
template <class Items, class Size, class Body>
void for_units(const Items& items, const Size& size, const Body& body) {
  std::int64_t total = 0;
  for (const auto& item : items) total += size(item);
  sparse::parallel_ranges(total, 2 * kUnit, [&](std::int64_t first, std::int64_t last) {
    const cpu::SubnormalsAreZero flush;
    std::int64_t begin = 0, unit = 0;  // elements and units of the items already passed
    for (const auto& item : items) {
      const std::int64_t elements = size(item);
      for (std::int64_t u = begin < first ? units_of(first - begin) : 0;
           u * kUnit < elements && begin + u * kUnit < last; ++u) {
        body(item, u * kUnit, std::min(kUnit, elements - u * kUnit), unit + u);
      }
      begin += elements;
      unit += units_of(elements);
      if (begin >= last) break;
    }
  });
}

}  // namespace

// out [m, n] = w [m, n] where mask [m, n], else 0
void CpuBackend::mask_apply(Tensor w, Tensor mask, Tensor out) {
  auto* const kernel = cpu::active_kernels().mask_apply;
  const auto* const kept = static_cast<const std::uint8_t*>(mask.data);
  sparse::parallel_ranges(w.rows, cpu::row_grain(w.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      kernel(w.as<float>() + i * w.stride, kept + i * mask.stride, out.as<float>() + i * out.stride, w.cols);
    }
  });
}

// dw [m, n] += g [m, n] where mask [m, n]; dscores [m, n] += w * g everywhere
void CpuBackend::mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) {
  auto* const kernel = cpu::active_kernels().mask_grad;
  const auto* const kept = static_cast<const std::uint8_t*>(mask.data);
  const auto row = [](Tensor x, std::int64_t i) { return x.empty() ? nullptr : x.as<float>() + i * x.stride; };
  sparse::parallel_ranges(g.rows, cpu::row_grain(g.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      kernel(row(g, i), row(w, i), kept + i * mask.stride, row(dw, i), row(dscores, i), g.cols);
    }
  });
}

// scores, dscores [m, n]
double CpuBackend::sigmoid_penalty(Tensor scores, double scale, Tensor dscores) {
  auto* const kernel = cpu::active_kernels().sigmoid_penalty;
  const auto row = [](Tensor x, std::int64_t i) { return x.empty() ? nullptr : x.as<float>() + i * x.stride; };
  double* const sums = cpu::scratch<double>(cpu::Scratch::sums, scores.rows);
  sparse::parallel_ranges(scores.rows, cpu::row_grain(scores.cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      sums[i] = kernel(row(scores, i), static_cast<float>(scale), row(dscores, i), scores.cols);
    }
  });
  double sum = 0;
  for (std::int64_t i = 0; i < scores.rows; ++i) sum += sums[i];
  return sum;
}

double CpuBackend::sum_of_squares(std::span<const Tensor> tensors) {
  auto* const kernel = cpu::active_kernels().sum_of_squares;
  const auto size = [](Tensor x) { return x.size(); };
  std::int64_t units = 0;
  for (Tensor x : tensors) units += units_of(x.size());
  double* const sums = cpu::scratch<double>(cpu::Scratch::sums, units);
  for_units(tensors, size, [&](Tensor x, std::int64_t first, std::int64_t count, std::int64_t unit) {
    if (x.contiguous()) {
      sums[unit] = kernel(x.as<float>() + first, count);
      return;
    }
    sums[unit] = 0;
    for (std::int64_t e = first; e < first + count;) {  // the parts of rows that the unit covers
      const std::int64_t i = e / x.cols, j = e % x.cols, length = std::min(x.cols - j, first + count - e);
      sums[unit] += kernel(x.as<float>() + i * x.stride + j, length);
      e += length;
    }
  });
  double sum = 0;
  for (std::int64_t u = 0; u < units; ++u) sum += sums[u];
  return sum;
}

// Decoupled decay: the weight shrinks by lr * decay, apart from the moments.
void CpuBackend::adamw(const AdamWStep& step, std::span<const AdamWItem> items) {
  auto* const kernel = cpu::active_kernels().adamw;
  const double correction1 = step.bias_correction ? 1 - std::pow(step.beta1, static_cast<double>(step.step)) : 1;
  const double correction2 = step.bias_correction ? 1 - std::pow(step.beta2, static_cast<double>(step.step)) : 1;
  const auto size = [](const AdamWItem& item) {
    assert(item.value.contiguous() && item.gradient.contiguous() && item.first_moment.contiguous() &&
           item.second_moment.contiguous() && (item.gradient.empty() || !item.first_moment.empty()));
    return item.value.size();
  };
  for_units(items, size, [&](const AdamWItem& item, std::int64_t first, std::int64_t count, std::int64_t) {
    const double rate = step.learning_rate * item.learning_rate_factor;
    const cpu::AdamWFactors factors{static_cast<float>(step.gradient_scale),
                                    static_cast<float>(step.beta1),
                                    static_cast<float>(step.beta2),
                                    static_cast<float>(1 - step.beta1),
                                    static_cast<float>(1 - step.beta2),
                                    static_cast<float>(1 - rate * item.weight_decay),
                                    static_cast<float>(rate / correction1),
                                    static_cast<float>(1 / std::sqrt(correction2)),
                                    static_cast<float>(step.eps)};
    const auto at = [first](Tensor x) { return x.empty() ? nullptr : x.as<float>() + first; };
    kernel(factors, at(item.value), at(item.gradient), at(item.first_moment), at(item.second_moment), count);
  });
}

}  // namespace bertx
