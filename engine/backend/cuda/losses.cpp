// Losses: the kernels leave a sum in device memory, which is fetched; that waits for the device.
#include "backend/cuda/cuda.h"

namespace bertx {

using cuda::const_matrix, cuda::matrix, cuda::Scratch, cuda::shape_of;

double CudaBackend::cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) {
  const Scratch<double> losses(device_, logits.cols), result(device_, 2);
  cuda::cross_entropy(device_.stream(), const_matrix(logits), labels.as<std::int32_t>(), scale, matrix(dlogits),
                      shape_of(logits), losses.get(), result.get());
  double sum_and_count[2] = {};
  device_.read(result.get(), sum_and_count, sizeof sum_and_count);
  return sum_and_count[1] > 0 ? sum_and_count[0] / sum_and_count[1] : 0.0;
}

double CudaBackend::span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) {
  if (!dlogits.empty()) fill(dlogits, 0);
  const std::int64_t sequences = starts.cols - 1;
  const Scratch<double> losses(device_, 2 * sequences), sum(device_, 1);
  cuda::span_cross_entropy(device_.stream(), const_matrix(logits), starts.as<std::int32_t>(), labels.as<std::int32_t>(),
                           sequences, scale, matrix(dlogits), losses.get(), sum.get());
  double loss = 0;
  device_.read(sum.get(), &loss, sizeof loss);
  return loss;
}

double CudaBackend::mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) {
  if (logits.size() == 0) return 0;
  const auto count = static_cast<double>(logits.size());
  const Scratch<double> partials(device_, cuda::kMostPartials + 1);
  double* const result = partials.get() + cuda::kMostPartials;
  cuda::squared_error(device_.stream(), const_matrix(logits), const_matrix(targets), scale * 2 / count, matrix(dlogits),
                      shape_of(logits), partials.get(), result);
  double sum = 0;
  device_.read(result, &sum, sizeof sum);
  return sum / count;
}

double CudaBackend::binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) {
  if (logits.size() == 0) return 0;
  const auto count = static_cast<double>(logits.size());
  const Scratch<double> partials(device_, cuda::kMostPartials + 1);
  double* const result = partials.get() + cuda::kMostPartials;
  cuda::sigmoid_cross_entropy(device_.stream(), const_matrix(logits), const_matrix(targets), scale / count,
                              matrix(dlogits), shape_of(logits), partials.get(), result);
  double sum = 0;
  device_.read(result, &sum, sizeof sum);
  return sum / count;
}

}  // namespace bertx
