// LayerNorm over the features of each token. Rows are features, so the threads of a block lie side by side over the
// tokens and one above the other over the features: reads of a row are of neighbouring addresses.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

constexpr int kFewColumns = 8, kManyColumns = 32;  // a sector of 32 bytes; a cache line of 128
constexpr std::int64_t kManyTokens = 2048;         // from which kManyColumns fill the device with blocks
constexpr int kHigh = 32;                          // threads of a column
constexpr int kKept = 32;                          // features that a thread keeps in registers

// The sum of `value` over the threads of a column, in all of them; shared [kColumns * blockDim.y].
template <int kColumns>
__device__ float column_sum(float value, float* shared) {
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  __syncthreads();
  shared[y * kColumns + x] = value;
  __syncthreads();
  for (int step = static_cast<int>(blockDim.y) / 2; step > 0; step /= 2) {
    if (y < step) shared[y * kColumns + x] += shared[(y + step) * kColumns + x];
    __syncthreads();
  }
  return shared[x];
}

/// What a thread reads of a column: every kHigh-th feature. Up to kHigh * kKept features are read once, all at the same
/// time, for a block waits for memory more than it computes.
template <bool kInRegisters>
struct Features {
  const float* from;
  std::int64_t stride, count;
  float kept[kInRegisters ? kKept : 1];

  __device__ Features(ConstMatrix x, std::int64_t t, std::int64_t rows)
      : from(x.data + t), stride(x.stride), count(rows) {
    if constexpr (kInRegisters) {
#pragma unroll
      for (int k = 0; k < kKept; ++k) {
        const std::int64_t i = threadIdx.y + k * kHigh;
        kept[k] = i < count ? from[i * stride] : 0.0f;
      }
    }
  }
  /// Calls body(feature, value).
  template <class Body>
  __device__ void each(const Body& body) const {
    if constexpr (kInRegisters) {
#pragma unroll
      for (int k = 0; k < kKept; ++k) {
        const std::int64_t i = threadIdx.y + k * kHigh;
        if (i < count) body(i, kept[k]);
      }
    } else {
      for (std::int64_t i = threadIdx.y; i < count; i += kHigh) body(i, from[i * stride]);
    }
  }
};

// Block: kColumns x kHigh
template <int kColumns, bool kInRegisters>
__global__ void __launch_bounds__(kColumns* kHigh)
    layer_norm_kernel(ConstMatrix x, const float* gamma, const float* beta, float eps, Matrix y, float* mean,
                      float* rstd, Shape shape) {
  __shared__ float shared[kColumns * kHigh];
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  const bool inside = t < shape.cols;
  const float features = static_cast<float>(shape.rows);
  const Features<kInRegisters> own(x, inside ? t : 0, inside ? shape.rows : 0);
  float sum = 0;
  own.each([&](std::int64_t, float value) { sum += value; });
  const float m = column_sum<kColumns>(sum, shared) / features;
  float squares = 0;
  own.each([&](std::int64_t, float value) { squares += (value - m) * (value - m); });
  const float r = 1 / sqrtf(column_sum<kColumns>(squares, shared) / features + eps);
  own.each([&](std::int64_t i, float value) { y.data[i * y.stride + t] = (value - m) * r * gamma[i] + beta[i]; });
  if (inside && threadIdx.y == 0) mean[t] = m, rstd[t] = r;
}

// With x̂ = (x - mean) * rstd and g = dy * gamma, per token:  dx = rstd * (g - mean(g) - x̂ * mean(g * x̂))
template <int kColumns>
__global__ void layer_norm_grad_kernel(ConstMatrix x, const float* gamma, const float* mean, const float* rstd,
                                       ConstMatrix dy, Matrix dx, Shape shape) {
  __shared__ float shared[kThreads];
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  const bool inside = t < shape.cols;
  const float features = static_cast<float>(shape.rows);
  const float m = inside ? mean[t] : 0.0f, r = inside ? rstd[t] : 0.0f;
  float sum_g = 0, sum_gx = 0;
  for (std::int64_t i = threadIdx.y; inside && i < shape.rows; i += blockDim.y) {
    const float g = dy.data[i * dy.stride + t] * gamma[i];
    sum_g += g;
    sum_gx += g * ((x.data[i * x.stride + t] - m) * r);
  }
  const float mean_g = column_sum<kColumns>(sum_g, shared) / features;
  const float mean_gx = column_sum<kColumns>(sum_gx, shared) / features;
  for (std::int64_t i = threadIdx.y; inside && i < shape.rows; i += blockDim.y) {
    const float normalized = (x.data[i * x.stride + t] - m) * r;
    dx.data[i * dx.stride + t] = r * (dy.data[i * dy.stride + t] * gamma[i] - mean_g - normalized * mean_gx);
  }
}

// dgamma += row sums of dy * x̂, dbeta += row sums of dy. A row a warp (32 x 8 threads), or a row a block (256 x 1).
__global__ void parameter_grad_kernel(ConstMatrix x, const float* mean, const float* rstd, ConstMatrix dy,
                                      float* dgamma, float* dbeta, Shape shape) {
  __shared__ float shared[32];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  float scaled = 0, plain = 0;
  for (std::int64_t t = threadIdx.x; row < shape.rows && t < shape.cols; t += blockDim.x) {
    const float gradient = dy.data[row * dy.stride + t];
    scaled += gradient * ((x.data[row * x.stride + t] - mean[t]) * rstd[t]);
    plain += gradient;
  }
  const bool by_warp = blockDim.x == kWarp;
  const float of_gamma = by_warp ? warp_sum(scaled) : block_sum(scaled, shared);
  const float of_beta = by_warp ? warp_sum(plain) : block_sum(plain, shared);
  if (threadIdx.x != 0 || row >= shape.rows) return;
  if (dgamma != nullptr) dgamma[row] += of_gamma;
  if (dbeta != nullptr) dbeta[row] += of_beta;
}

struct ByColumns {
  dim3 grid, block;
  bool many;
};
ByColumns by_columns(Shape shape) {
  const bool many = shape.cols >= kManyTokens;
  const int columns = many ? kManyColumns : kFewColumns;
  return {dim3(static_cast<unsigned>(ceil_div(shape.cols, columns))),
          dim3(static_cast<unsigned>(columns), static_cast<unsigned>(kThreads / columns)), many};
}

}  // namespace

void layer_norm(Stream stream, ConstMatrix x, const float* gamma, const float* beta, float eps, Matrix y, float* mean,
                float* rstd, Shape shape) {
  if (shape.cols <= 0) return;
  const ByColumns layout = by_columns(shape);
  const bool few = shape.rows <= kHigh * kKept;
  const auto kernel = layout.many
                          ? (few ? layer_norm_kernel<kManyColumns, true> : layer_norm_kernel<kManyColumns, false>)
                          : (few ? layer_norm_kernel<kFewColumns, true> : layer_norm_kernel<kFewColumns, false>);
  launch(kernel, layout.grid, dim3(layout.block.x, kHigh), 0, stream, x, gamma, beta, eps, y, mean, rstd, shape);
}

void layer_norm_grad(Stream stream, ConstMatrix x, const float* gamma, const float* mean, const float* rstd,
                     ConstMatrix dy, Matrix dx, float* dgamma, float* dbeta, Shape shape) {
  if (shape.rows <= 0 || shape.cols <= 0) return;
  if (dgamma != nullptr || dbeta != nullptr) {  // before dx, which may be dy
    const dim3 block = shape.cols <= 1024 ? dim3(kWarp, kThreads / kWarp) : dim3(kThreads, 1);
    launch(parameter_grad_kernel, dim3(static_cast<unsigned>(ceil_div(shape.rows, block.y))), block, 0, stream, x, mean,
           rstd, dy, dgamma, dbeta, shape);
  }
  const ByColumns layout = by_columns(shape);
  launch(layout.many ? layer_norm_grad_kernel<kManyColumns> : layer_norm_grad_kernel<kFewColumns>, layout.grid,
         layout.block, 0, stream, x, gamma, mean, rstd, dy, dx, shape);
}

}  // namespace bertx::cuda
