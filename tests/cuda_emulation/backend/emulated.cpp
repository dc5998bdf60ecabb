#include "emulated.h"

#include "backend/cuda/cuda.h"
#include "emulator/emulation.h"

namespace bertx::test {

std::unique_ptr<Backend> make_emulated_cuda_backend(BackendOptions options) {
  return std::make_unique<CudaBackend>(options);
}

void guard_device_memory(bool on) {
  cuda_emulation::Settings settings;
  settings.guarded = on;
  cuda_emulation::configure(settings);
}

}  // namespace bertx::test
