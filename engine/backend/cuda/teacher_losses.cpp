// What a student is compared with. As in losses.cpp, sums are fetched, which waits for the device.
#include "backend/cuda/cuda.h"

namespace bertx {

using cuda::const_matrix, cuda::matrix, cuda::Scratch, cuda::shape_of;

double CudaBackend::softened_divergence(Tensor logits, Tensor targets, double temperature, double scale,
                                        Tensor dlogits) {
  if (logits.size() == 0) return 0;
  const auto count = static_cast<double>(logits.cols);
  const Scratch<double> losses(device_, logits.cols), result(device_, 1);
  cuda::softened_divergence(device_.stream(), const_matrix(logits), const_matrix(targets), temperature,
                            scale / count * temperature, matrix(dlogits), shape_of(logits), losses.get(), result.get());
  double sum = 0;
  device_.read(result.get(), &sum, sizeof sum);
  return temperature * temperature * sum / count;
}

double CudaBackend::cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) {
  if (x.cols == 0) return 0;
  const auto count = static_cast<double>(x.cols);
  const Scratch<double> losses(device_, x.cols), result(device_, 1);
  cuda::cosine_distance(device_.stream(), const_matrix(x), const_matrix(targets), scale / count, matrix(dx),
                        shape_of(x), losses.get(), result.get());
  double sum = 0;
  device_.read(result.get(), &sum, sizeof sum);
  return sum / count;
}

double CudaBackend::relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                                      Tensor teacher_b, Tensor starts, double scale, Tensor da, Tensor db) {
  if (heads == 0 || a.size() == 0) return 0;
  const bool distributions = comparison == Comparison::distributions;
  const cuda::Relations relations{{const_matrix(a), const_matrix(b), a.rows / heads},
                                  {const_matrix(teacher_a), const_matrix(teacher_b), teacher_a.rows / heads},
                                  heads,
                                  a.cols,
                                  starts.cols - 1,
                                  starts.as<std::int32_t>(),
                                  distributions};
  const Scratch<float> log_sums(device_, distributions ? 2 * heads * a.cols : 0);
  const Scratch<double> losses(device_, heads * cuda::relation_tiles(a.cols)), result(device_, 2);
  cuda::relation_distance(device_.stream(), relations, scale, matrix(da), matrix(db), log_sums.get(), losses.get(),
                          result.get());
  double sum_and_count[2] = {};
  device_.read(result.get(), sum_and_count, sizeof sum_and_count);
  return sum_and_count[1] > 0 ? sum_and_count[0] / sum_and_count[1] : 0.0;
}

}  // namespace bertx
