// Launching kernels, and the few functions of the device that differ where the same sources run on the host
// (tests/cuda_emulation); most of them are those of sparse/cuda.
#pragma once

#include "backend/cuda/launched.h"
#include "cuda/device.cuh"

namespace bertx::cuda {

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            const Arguments&... arguments) {
  launched(sparse::cuda::launch(kernel, grid, block, shared_bytes, stream, arguments...));
}
/// Lets a kernel have more dynamic shared memory than 48 KiB.
template <class... Parameters>
void allow_shared(void (*kernel)(Parameters...), std::size_t bytes) {
  launched(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(bytes)));
}

/// The dynamic shared memory of a block.
__device__ inline float* shared_floats() { return reinterpret_cast<float*>(sparse::cuda::dynamic_shared()); }

/// x in bf16, rounded to nearest, ties to even; NaN stays NaN.
__device__ inline std::uint16_t bf16_bits(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x0040u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
/// Two of them as they lie side by side, `low` first.
__device__ inline std::uint32_t two_bf16(float low, float high) {
#ifndef BERTX_CUDA_EMULATION
  std::uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
#else
  return static_cast<std::uint32_t>(bf16_bits(low)) | static_cast<std::uint32_t>(bf16_bits(high)) << 16;
#endif
}

}  // namespace bertx::cuda
