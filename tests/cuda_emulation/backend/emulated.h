// The cuda backend without a GPU: its own sources, run on the host by tests/cuda_emulation.
#pragma once

#include "bertx/backend.h"

namespace bertx::test {

/// Its name is "cuda", too.
std::unique_ptr<Backend> make_emulated_cuda_backend(BackendOptions options = {});
/// Whether the process ends where host code touches device memory; slow.
void guard_device_memory(bool on);

}  // namespace bertx::test
