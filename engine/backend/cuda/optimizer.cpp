// Masks of pruning, gradient norm, AdamW.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cuda/cuda.h"

namespace bertx {

using cuda::const_matrix, cuda::matrix, cuda::Scratch, cuda::shape_of;

namespace {

/// What a launch over many tensors reads, on the device.
template <class T>
Scratch<T> on_device(cuda::Device& device, const std::vector<T>& table) {
  Scratch<T> copy(device, static_cast<std::int64_t>(table.size()));
  device.write(table.data(), copy.get(), table.size() * sizeof(T));
  return copy;
}

}  // namespace

void CudaBackend::mask_apply(Tensor w, Tensor mask, Tensor out) {
  cuda::mask_apply(device_.stream(), const_matrix(w), mask.as<std::uint8_t>(), mask.stride, matrix(out), shape_of(w));
}

void CudaBackend::mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) {
  cuda::mask_grad(device_.stream(), const_matrix(g), const_matrix(w), mask.as<std::uint8_t>(), mask.stride, matrix(dw),
                  matrix(dscores), shape_of(g));
}

double CudaBackend::sigmoid_penalty(Tensor scores, double scale, Tensor dscores) {
  const Scratch<double> partials(device_, cuda::kMostPartials + 1);
  double* const result = partials.get() + cuda::kMostPartials;
  cuda::sigmoid_penalty(device_.stream(), const_matrix(scores), scale, matrix(dscores), shape_of(scores),
                        partials.get(), result);
  double sum = 0;
  device_.read(result, &sum, sizeof sum);
  return sum;
}

double CudaBackend::sum_of_squares(std::span<const Tensor> tensors) {
  std::vector<cuda::SumPiece> pieces;
  for (const Tensor x : tensors) {
    const Tensor rows = x.contiguous() ? view(x.data, 1, x.size(), x.dtype) : x;
    for (std::int64_t i = 0; i < rows.rows; ++i) {
      const float* const row = rows.as<float>() + i * rows.stride;
      for (std::int64_t first = 0; first < rows.cols; first += cuda::kPiece) {
        pieces.push_back({row + first, std::min(cuda::kPiece, rows.cols - first)});
      }
    }
  }
  if (pieces.empty()) return 0;
  const auto count = static_cast<std::int64_t>(pieces.size());
  const Scratch<cuda::SumPiece> table = on_device(device_, pieces);
  const Scratch<double> partials(device_, count + 1);
  cuda::squares(device_.stream(), table.get(), count, partials.get());
  cuda::sum_up(device_.stream(), partials.get(), count, partials.get() + count);
  double sum = 0;
  device_.read(partials.get() + count, &sum, sizeof sum);
  return sum;
}

void CudaBackend::adamw(const AdamWStep& step, std::span<const AdamWItem> items) {
  const double correction1 = step.bias_correction ? 1 - std::pow(step.beta1, static_cast<double>(step.step)) : 1;
  const double correction2 = step.bias_correction ? 1 - std::pow(step.beta2, static_cast<double>(step.step)) : 1;
  std::vector<cuda::AdamWPiece> pieces;
  for (const AdamWItem& item : items) {
    assert(item.value.contiguous() && item.gradient.contiguous() && item.first_moment.contiguous() &&
           item.second_moment.contiguous() && (item.gradient.empty() || !item.first_moment.empty()));
    const double rate = step.learning_rate * item.learning_rate_factor;
    const std::int64_t size = item.value.size();
    for (std::int64_t first = 0; first < size; first += cuda::kPiece) {
      const auto at = [first](Tensor x) { return x.empty() ? nullptr : x.as<float>() + first; };
      pieces.push_back({at(item.value), at(item.gradient), at(item.first_moment), at(item.second_moment),
                        std::min(cuda::kPiece, size - first), static_cast<float>(1 - rate * item.weight_decay),
                        static_cast<float>(rate / correction1)});
    }
  }
  if (pieces.empty()) return;
  const cuda::AdamWFactors factors{static_cast<float>(step.gradient_scale),
                                   static_cast<float>(step.beta1),
                                   static_cast<float>(step.beta2),
                                   static_cast<float>(1 - step.beta1),
                                   static_cast<float>(1 - step.beta2),
                                   static_cast<float>(1 / std::sqrt(correction2)),
                                   static_cast<float>(step.eps)};
  const Scratch<cuda::AdamWPiece> table = on_device(device_, pieces);
  cuda::adamw(device_.stream(), factors, table.get(), static_cast<std::int64_t>(pieces.size()));
}

}  // namespace bertx
