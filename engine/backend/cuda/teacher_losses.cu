// A student beside its teacher, column by column: softened distributions, directions. Sums in double, in one order.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

constexpr int kColumns = 8;                                            // examples of a block of softened_divergence
constexpr int kRowsOfThreads = static_cast<int>(kThreads) / kColumns;  // over the classes

/// Σ exp(value - largest) of the values so far
struct Softmax {
  double largest = -INFINITY, sum = 0;
  __device__ void add(double value) {
    if (value > largest) {
      sum = sum * exp(largest - value) + 1;
      largest = value;
    } else {
      sum += exp(value - largest);
    }
  }
};

struct Partials {
  double largest[kRowsOfThreads][kColumns], sum[kRowsOfThreads][kColumns];
};

/// log Σ exp(x / temperature) of a column, in all of its threads
__device__ double log_sum(const float* column, std::int64_t stride, std::int64_t classes, double temperature,
                          Partials& shared) {
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  Softmax mine;
  for (std::int64_t c = y; c < classes; c += kRowsOfThreads) {
    mine.add(static_cast<double>(column[c * stride]) / temperature);
  }
  __syncthreads();
  shared.largest[y][x] = mine.largest, shared.sum[y][x] = mine.sum;
  __syncthreads();
  double largest = -INFINITY, sum = 0;
  for (int i = 0; i < kRowsOfThreads; ++i) largest = fmax(largest, shared.largest[i][x]);
  for (int i = 0; i < kRowsOfThreads; ++i) {
    if (shared.sum[i][x] > 0) sum += shared.sum[i][x] * exp(shared.largest[i][x] - largest);
  }
  return largest + log(sum);
}

// logits, targets, dlogits [C, N] -> losses [N]. Block: kColumns examples x kRowsOfThreads classes at a time.
__global__ void softened_divergence_kernel(ConstMatrix logits, ConstMatrix targets, double temperature, double factor,
                                           Matrix dlogits, Shape shape, double* losses) {
  __shared__ Partials shared;
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kColumns + x;
  const std::int64_t classes = n < shape.cols ? shape.rows : 0;  // threads past the columns keep to the barriers
  const float *const found = logits.data + n, *const wanted = targets.data + n;
  const double found_sum = log_sum(found, logits.stride, classes, temperature, shared);
  const double wanted_sum = log_sum(wanted, targets.stride, classes, temperature, shared);
  double loss = 0;
  for (std::int64_t c = y; c < classes; c += kRowsOfThreads) {
    const double log_found = static_cast<double>(found[c * logits.stride]) / temperature - found_sum;
    const double log_wanted = static_cast<double>(wanted[c * targets.stride]) / temperature - wanted_sum;
    const double probability = exp(log_wanted);
    loss += probability * (log_wanted - log_found);
    if (dlogits.data == nullptr) continue;
    dlogits.data[c * dlogits.stride + n] = static_cast<float>(factor * (exp(log_found) - probability));
  }
  __syncthreads();
  shared.sum[y][x] = loss;
  __syncthreads();
  if (y != 0 || n >= shape.cols) return;
  double all = 0;
  for (int i = 0; i < kRowsOfThreads; ++i) all += shared.sum[i][x];
  losses[n] = all;
}

constexpr int kWide = 32, kHigh = static_cast<int>(kThreads) / kWide;  // a block of cosine_distance: columns, features

/// The sum of what the threads of a column have, in all of them.
__device__ double column_sum(double value, double (&shared)[kHigh][kWide]) {
  __syncthreads();
  shared[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < kHigh; ++i) sum += shared[i][threadIdx.x];
  return sum;
}

// x, targets, dx [F, N] -> losses [N];  d cos / dx = y / (|x| |y|) - cos x / |x|²
__global__ void cosine_distance_kernel(ConstMatrix x, ConstMatrix targets, double factor, Matrix dx, Shape shape,
                                       double* losses) {
  __shared__ double shared[kHigh][kWide];
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kWide + threadIdx.x;
  const std::int64_t features = n < shape.cols ? shape.rows : 0;
  double xy = 0, xx = 0, yy = 0;
  for (std::int64_t i = threadIdx.y; i < features; i += kHigh) {
    const double a = x.data[i * x.stride + n], b = targets.data[i * targets.stride + n];
    xy += a * b, xx += a * a, yy += b * b;
  }
  xy = column_sum(xy, shared), xx = column_sum(xx, shared), yy = column_sum(yy, shared);
  const double norms = sqrt(xx * yy), cosine = norms > 0 ? xy / norms : 0.0;
  if (threadIdx.y == 0 && n < shape.cols) losses[n] = 1 - cosine;
  if (dx.data == nullptr) return;
  const double of_x = norms > 0 ? factor * cosine / xx : 0.0, of_targets = norms > 0 ? -factor / norms : 0.0;
  for (std::int64_t i = threadIdx.y; i < features; i += kHigh) {
    dx.data[i * dx.stride + n] =
        static_cast<float>(of_x * static_cast<double>(x.data[i * x.stride + n]) +
                           of_targets * static_cast<double>(targets.data[i * targets.stride + n]));
  }
}

}  // namespace

void softened_divergence(Stream stream, ConstMatrix logits, ConstMatrix targets, double temperature, double factor,
                         Matrix dlogits, Shape shape, double* losses, double* sum) {
  const std::int64_t columns = shape.rows > 0 ? shape.cols : 0;
  if (columns > 0) {
    launch(softened_divergence_kernel, dim3(static_cast<unsigned>(ceil_div(columns, kColumns))),
           dim3(kColumns, kRowsOfThreads), 0, stream, logits, targets, temperature, factor, dlogits, shape, losses);
  }
  sum_up(stream, losses, columns, sum);
}

void cosine_distance(Stream stream, ConstMatrix x, ConstMatrix targets, double factor, Matrix dx, Shape shape,
                     double* losses, double* sum) {
  if (shape.cols > 0) {
    launch(cosine_distance_kernel, dim3(static_cast<unsigned>(ceil_div(shape.cols, kWide))), dim3(kWide, kHigh), 0,
           stream, x, targets, factor, dx, shape, losses);
  }
  sum_up(stream, losses, shape.cols, sum);
}

}  // namespace bertx::cuda
