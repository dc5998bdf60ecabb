// The factory of the cuda backend, in a build that has it.
#include "backend/cuda/cuda.h"

#include "bertx/error.h"

namespace bertx {

std::unique_ptr<Backend> make_cuda_backend(BackendOptions options) {
  if (options.products != DType::f32 && options.products != DType::bf16) {
    fail(ErrorKind::usage, "cuda backend: products take inputs of f32 or bf16");
  }
  return std::make_unique<CudaBackend>(options);
}

}  // namespace bertx
