// Losses over classes and over tokens, each with its gradient; sums in double, in one order.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

constexpr std::int32_t kIgnored = -100;
constexpr int kColumns = 8;                                            // tokens of a block of cross_entropy
constexpr int kRowsOfThreads = static_cast<int>(kThreads) / kColumns;  // over the classes

__global__ void count_kernel(const std::int32_t* labels, std::int64_t n, double* count) {
  __shared__ double shared[32];
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) mine += labels[i] != kIgnored ? 1 : 0;
  const double all = block_sum(mine, shared);
  if (threadIdx.x == 0) *count = all;
}

// logits, dlogits [C, N], labels [N] -> losses [N]. Block: kColumns tokens x kRowsOfThreads classes at a time.
__global__ void cross_entropy_kernel(ConstMatrix logits, const std::int32_t* labels, double scale, const double* count,
                                     Matrix dlogits, Shape shape, double* losses) {
  __shared__ float largest_of[kRowsOfThreads][kColumns], sum_of[kRowsOfThreads][kColumns];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kColumns + x;
  const bool inside = n < shape.cols;
  const float* const column = logits.data + n;

  float largest = -INFINITY, sum = 0;  // of exp(logit - largest)
  for (std::int64_t c = y; inside && c < shape.rows; c += kRowsOfThreads) {
    const float logit = column[c * logits.stride];
    if (logit > largest) {
      sum = sum * expf(largest - logit) + 1;
      largest = logit;
    } else {
      sum += expf(logit - largest);
    }
  }
  largest_of[y][x] = largest, sum_of[y][x] = sum;
  __syncthreads();
  float all = -INFINITY, total = 0;
  for (int i = 0; i < kRowsOfThreads; ++i) all = fmaxf(all, largest_of[i][x]);
  for (int i = 0; i < kRowsOfThreads; ++i) {
    if (sum_of[i][x] > 0) total += sum_of[i][x] * expf(largest_of[i][x] - all);
  }
  if (!inside) return;
  const std::int32_t label = labels[n];
  const bool counts = label != kIgnored;
  const double lse = static_cast<double>(all) + log(static_cast<double>(total));
  if (y == 0) losses[n] = counts ? lse - static_cast<double>(column[label * logits.stride]) : 0.0;
  if (dlogits.data == nullptr) return;
  const float factor = counts ? static_cast<float>(scale / *count) : 0.0f, rounded = static_cast<float>(lse);
  for (std::int64_t c = y; c < shape.rows; c += kRowsOfThreads) {
    const float probability = counts ? expf(column[c * logits.stride] - rounded) : 0.0f;
    dlogits.data[c * dlogits.stride + n] = factor * (probability - (c == label ? 1.0f : 0.0f));
  }
}

// logits, dlogits [2, T]; labels [2 * sequences]. A block a sequence (x) and side (y).
__global__ void span_kernel(ConstMatrix logits, const std::int32_t* starts, const std::int32_t* labels, double scale,
                            Matrix dlogits, double* losses) {
  __shared__ float shared[32];
  __shared__ double shared_sums[32];
  const std::int64_t sequences = gridDim.x, b = blockIdx.x, side = blockIdx.y;
  const std::int32_t* const wanted = labels + side * sequences;
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < sequences; i += blockDim.x) {
    mine += wanted[i] >= 0 && wanted[i] < starts[i + 1] - starts[i] ? 1 : 0;
  }
  const double count = block_sum(mine, shared_sums);
  const std::int64_t first = starts[b], last = starts[b + 1], target = first + wanted[b];
  double& loss = losses[side * sequences + b];
  if (wanted[b] < 0 || target >= last) {  // outside of the sequence
    if (threadIdx.x == 0) loss = 0;
    return;
  }
  const float* const row = logits.data + side * logits.stride;
  float largest = -INFINITY;
  for (std::int64_t t = first + threadIdx.x; t < last; t += blockDim.x) largest = fmaxf(largest, row[t]);
  largest = block_max(largest, shared);
  double sum = 0;
  for (std::int64_t t = first + threadIdx.x; t < last; t += blockDim.x) {
    sum += exp(static_cast<double>(row[t]) - static_cast<double>(largest));
  }
  const double lse = static_cast<double>(largest) + log(block_sum(sum, shared_sums));
  if (threadIdx.x == 0) loss = (lse - static_cast<double>(row[target])) / count / 2;
  if (dlogits.data == nullptr) return;
  for (std::int64_t t = first + threadIdx.x; t < last; t += blockDim.x) {
    const double probability = exp(static_cast<double>(row[t]) - lse);
    dlogits.data[side * dlogits.stride + t] =
        static_cast<float>(scale / count / 2 * (probability - (t == target ? 1 : 0)));
  }
}

}  // namespace

void cross_entropy(Stream stream, ConstMatrix logits, const std::int32_t* labels, double scale, Matrix dlogits,
                   Shape shape, double* losses, double* result) {
  launch(count_kernel, dim3(1), dim3(kThreads), 0, stream, labels, shape.cols, result + 1);
  if (shape.cols > 0) {
    launch(cross_entropy_kernel, dim3(static_cast<unsigned>(ceil_div(shape.cols, kColumns))),
           dim3(kColumns, kRowsOfThreads), 0, stream, logits, labels, scale, result + 1, dlogits, shape, losses);
  }
  sum_up(stream, losses, shape.cols, result);
}

void span_cross_entropy(Stream stream, ConstMatrix logits, const std::int32_t* starts, const std::int32_t* labels,
                        std::int64_t sequences, double scale, Matrix dlogits, double* losses, double* sum) {
  if (sequences > 0) {
    launch(span_kernel, dim3(static_cast<unsigned>(sequences), 2), dim3(kThreads), 0, stream, logits, starts, labels,
           scale, dlogits, losses);
  }
  sum_up(stream, losses, 2 * sequences, sum);
}

}  // namespace bertx::cuda
