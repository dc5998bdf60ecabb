// The types in which tensor cores multiply: how activations are rounded to them, and how a warp takes them from tiles.
#pragma once

#include "backend/cuda/device.cuh"
#include "cuda/tile.cuh"

namespace bertx::cuda {

using sparse::cuda::load_matrices;

/// bf16, 16 columns of weights a step.
struct Bf16Product {
  using Number = std::uint16_t;
  static constexpr bool kPairs = false;

  __device__ static uint4 rounded(const float4 (&x)[2]) {
    return make_uint4(two_bf16(x[0].x, x[0].y), two_bf16(x[0].z, x[0].w), two_bf16(x[1].x, x[1].y),
                      two_bf16(x[1].z, x[1].w));
  }
  /// The right sides for tokens [token, token + 8) and the 8 behind; `row` the first of a step.
  template <class Activations>
  __device__ static void take_right(const Activations& x, int row, int token, std::uint32_t (&right)[2][2]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8;
    std::uint32_t all[4];
    load_matrices<true>(all, x.part(row + matrix % 2 * 8 + lane % 8, token / 8 + matrix / 2));
    right[0][0] = all[0], right[0][1] = all[1], right[1][0] = all[2], right[1][1] = all[3];
  }
  __device__ static void multiply(float (&sums)[4], const std::uint32_t (&left)[4], const std::uint32_t (&right)[2]) {
    sparse::cuda::mma_bf16(sums, left, right);
  }
};

/// TF32, 8 columns a step.
struct Tf32Product {
  using Number = float;
  static constexpr bool kPairs = true;

  __device__ static uint4 rounded(const float4 (&x)[1]) {
    using sparse::cuda::to_tf32;
    return make_uint4(to_tf32(x[0].x), to_tf32(x[0].y), to_tf32(x[0].z), to_tf32(x[0].w));
  }
  template <class Activations>
  __device__ static void take_right(const Activations& x, int row, int token, std::uint32_t (&right)[2][2]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, q = lane % 4;
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto* const four =
            reinterpret_cast<const std::uint32_t*>(x.part(row + half * 4 + q, token / 4 + eight * 2 + g / 4));
        right[eight][half] = four[g % 4];
      }
    }
  }
  __device__ static void multiply(float (&sums)[4], const std::uint32_t (&left)[4], const std::uint32_t (&right)[2]) {
    sparse::cuda::mma_tf32(sums, left, right);
  }
};

}  // namespace bertx::cuda
