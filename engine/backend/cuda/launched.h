// How launchers, which know no exceptions of bertx, report what CUDA refused.
#pragma once

#include <cuda_runtime_api.h>

namespace bertx::cuda {

/// Throws Error(numeric) unless `error` is none (device.cpp).
void launched(cudaError_t error);

}  // namespace bertx::cuda
