// The emulated device as tests see it: launching, what it has and how it behaves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>

#include "include/cuda_runtime_api.h"

namespace cuda_emulation {

/// Refuses what a device refuses (0 blocks, 1025 threads, more shared memory than asked for) with an error code; puts
/// the rest into the stream. What goes wrong in the kernel comes from what waits for it, as cudaErrorLaunchFailure, and
/// from every call after it; cudaGetErrorString says what it was.
cudaError_t launch_grid(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                        std::function<void()> body);

/// kernel<<<grid, block, shared_bytes, stream>>>(arguments...)
template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                   A&&... arguments) {
  return launch_grid(
      reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
      [kernel, values = std::tuple<P...>(static_cast<A&&>(arguments)...)] { std::apply(kernel, values); });
}

/// Puts host code into a stream, as a library like cuBLAS puts its kernels there.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

struct Settings {
  std::uint64_t seed = 1;                           ///< of the order of threads and blocks; each launch draws from it
  bool guarded = false;                             ///< ends a process whose host code touches device memory; slow
  bool deferred = true;                             ///< false: work is done as it is put into a stream
  std::size_t memory_bytes = std::size_t{4} << 30;  ///< of the device
  int devices = 1;                                  ///< 0: cudaGetDeviceCount says cudaErrorNoDevice
};
/// Waits for all work, forgets errors and takes over the settings.
void configure(const Settings& settings);

/// Bytes that cudaMalloc and cudaMallocAsync have given out and not got back.
std::size_t device_bytes();
/// Kernels that ran since the process began.
std::uint64_t launches();

}  // namespace cuda_emulation
