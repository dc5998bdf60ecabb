#include "emulated.h"

#include "backend/cuda/cuda.h"

namespace bertx::test {

std::unique_ptr<Backend> make_emulated_cuda_backend(BackendOptions options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace bertx::test
