// What the kernels share: vector access, the random stream of dropout, activations, sums over a block.
#pragma once

#include <cuda_runtime.h>

#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.cuh"

namespace bertx::cuda {

/// kLanes successive elements of a row.
template <int kLanes>
struct Lanes {
  float v[kLanes];
};
/// Four lanes need an address that is a multiple of 16 bytes.
template <int kLanes>
__device__ inline Lanes<kLanes> load(const float* from) {
  Lanes<kLanes> out;
  if constexpr (kLanes == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    out.v[0] = four.x, out.v[1] = four.y, out.v[2] = four.z, out.v[3] = four.w;
  } else {
    for (int i = 0; i < kLanes; ++i) out.v[i] = from[i];
  }
  return out;
}
template <int kLanes>
__device__ inline void store(float* to, const Lanes<kLanes>& x) {
  if constexpr (kLanes == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  } else {
    for (int i = 0; i < kLanes; ++i) to[i] = x.v[i];
  }
}
/// Four lanes may be used on every row: the address and the stride are multiples of 16 bytes.
inline bool in_fours(const float* data, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride % 4 == 0;
}
inline bool in_fours(Matrix x) { return in_fours(x.data, x.stride); }
inline bool in_fours(ConstMatrix x) { return in_fours(x.data, x.stride); }
inline bool in_fours(Bf16Matrix x) { return reinterpret_cast<std::uintptr_t>(x.data) % 8 == 0 && x.stride % 4 == 0; }

// bertx::random_u32, which this cannot include; that both agree is tested by the dropout of every backend.
__device__ inline std::uint32_t random_bits(std::uint64_t seed, std::uint32_t row, std::uint32_t column) {
  std::uint32_t x = column * 0x9E3779B1u ^ static_cast<std::uint32_t>(seed);
  x ^= (row + 0x7F4A7C15u) * 0x85EBCA6Bu ^ static_cast<std::uint32_t>(seed >> 32);
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}
/// What dropout multiplies element (row, column) by.
__device__ inline float dropout_factor(const DropoutMask& mask, std::int64_t row, std::int64_t column) {
  if (mask.threshold == 0) return 1.0f;
  const std::uint32_t bits =
      random_bits(mask.seed, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column));
  return bits >= mask.threshold ? mask.scale : 0.0f;
}

constexpr float kTanhScale = 0.7978845608028654f;  // √(2/π), of the tanh form of gelu
constexpr float kTanhCubic = 0.044715f;
constexpr float kRootHalf = 0.7071067811865476f;
constexpr float kNormalDensity = 0.3989422804014327f;  // 1 / √(2π)

__device__ inline float activate(Pointwise activation, float x) {
  switch (activation) {
    case Pointwise::gelu_erf: return 0.5f * x * (1 + erff(x * kRootHalf));
    case Pointwise::gelu_tanh: return 0.5f * x * (1 + tanhf(kTanhScale * (x + kTanhCubic * x * x * x)));
    case Pointwise::relu: return x > 0 ? x : 0.0f;
    case Pointwise::tanh: return tanhf(x);
    default: return x;
  }
}
__device__ inline float derivative(Pointwise activation, float x) {
  switch (activation) {
    case Pointwise::gelu_erf: return 0.5f * (1 + erff(x * kRootHalf)) + x * kNormalDensity * expf(-0.5f * x * x);
    case Pointwise::gelu_tanh: {
      const float t = tanhf(kTanhScale * (x + kTanhCubic * x * x * x));
      return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * kTanhScale * (1 + 3 * kTanhCubic * x * x);
    }
    case Pointwise::relu: return x > 0 ? 1.0f : 0.0f;
    case Pointwise::tanh: {
      const float t = tanhf(x);
      return 1 - t * t;
    }
    default: return 1.0f;
  }
}

constexpr unsigned kWholeWarp = 0xFFFFFFFFu;
constexpr int kWarp = 32;

/// The sum over the lanes of a warp, in all of them.
template <class T>
__device__ inline T warp_sum(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kWholeWarp, value, step);
  return value;
}
__device__ inline int thread_of_block() { return static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); }

/// The sum over a block of whole warps, in all threads; `shared` [32] is free again when the next barrier is passed.
template <class T>
__device__ inline T block_sum(T value, T* shared) {
  const int thread = thread_of_block(), threads = static_cast<int>(blockDim.x * blockDim.y);
  value = warp_sum(value);
  __syncthreads();
  if (thread % kWarp == 0) shared[thread / kWarp] = value;
  __syncthreads();
  T sum = 0;
  for (int warp = 0; warp < threads / kWarp; ++warp) sum += shared[warp];
  return sum;
}
/// The largest over a block of whole warps, in all threads.
__device__ inline float block_max(float value, float* shared) {
  const int thread = thread_of_block(), threads = static_cast<int>(blockDim.x * blockDim.y);
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, step));
  __syncthreads();
  if (thread % kWarp == 0) shared[thread / kWarp] = value;
  __syncthreads();
  float largest = shared[0];
  for (int warp = 1; warp < threads / kWarp; ++warp) largest = fmaxf(largest, shared[warp]);
  return largest;
}

/// The sequence that token t lies in: its first token and the one behind its last. starts [sequences + 1] may hold
/// sequences without tokens.
struct Bounds {
  int first, last;
};
__device__ inline Bounds bounds_of(const std::int32_t* starts, std::int64_t sequences, std::int64_t t) {
  std::int64_t low = 0, high = sequences;  // the last sequence that begins at or before t: starts[low] <= t
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (starts[middle] <= t) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return {starts[low], starts[low + 1]};
}

// ---- how work is laid out ------------------------------------------------------------------------------------------

constexpr std::int64_t kThreads = 256;
inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t at_most(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// Blocks of kThreads over a matrix, four columns a thread; at most `most_blocks`, which then go round.
struct Layout {
  dim3 grid, block;
};
inline Layout layout_of(Shape shape, std::int64_t most_blocks) {
  const std::int64_t fours = ceil_div(shape.cols, 4);
  std::int64_t wide = 1;
  while (wide < kThreads && wide < fours) wide *= 2;
  const std::int64_t high = kThreads / wide;
  const std::int64_t across = at_most(ceil_div(fours, wide), most_blocks);
  const std::int64_t down = at_most(ceil_div(shape.rows, high), at_most(65535, most_blocks / across));
  return {dim3(static_cast<unsigned>(across), static_cast<unsigned>(down)),
          dim3(static_cast<unsigned>(wide), static_cast<unsigned>(high))};
}

/// Calls body.at<lanes>(row, column) on all elements that are this thread's.
template <class Body>
__device__ inline void for_elements(const Body& body, Shape shape, bool fours) {
  const std::int64_t across = 4LL * gridDim.x * blockDim.x, down = static_cast<std::int64_t>(gridDim.y) * blockDim.y;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < shape.rows;
       row += down) {
    for (std::int64_t column = 4LL * (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
         column < shape.cols; column += across) {
      if (fours && column + 4 <= shape.cols) {
        body.template at<4>(row, column);
      } else {
        for (std::int64_t c = column; c < shape.cols && c < column + 4; ++c) body.template at<1>(row, c);
      }
    }
  }
}

}  // namespace bertx::cuda
