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

using sparse::cuda::bf16_bits, sparse::cuda::two_bf16;

}  // namespace bertx::cuda
