// The table of backends by name. A table, not self-registration: objects that nobody names drop out of a static
// library.
#include "bertx/backend.h"
#include "bertx/error.h"

namespace bertx {

std::unique_ptr<Backend> make_backend(std::string_view name, BackendOptions options) {
  if (name == "cuda") return make_cuda_backend(options);
  if (options.tf32) fail(ErrorKind::usage, "backend \"", name, "\": TF32 products are the cuda backend's only");
  if (name == "cpu") return make_cpu_backend(options);
  if (options.products != DType::f32 && name == "reference") {
    fail(ErrorKind::usage, "backend \"reference\": bf16 products are the cpu and cuda backends' only");
  }
  if (name == "reference") return make_reference_backend();
  fail(ErrorKind::usage, "unknown backend \"", name, "\"; expected one of: cpu, cuda, reference");
}

std::string_view precision_of(const Backend& backend) {
  switch (backend.products()) {
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    default: return backend.tf32() ? "tf32" : "f32";
  }
}

Storage make_storage(Backend& backend, std::int64_t rows, std::int64_t cols, DType dtype) {
  assert(rows >= 0 && cols >= 0);
  std::int64_t elements = 0, bytes = 0;
  if (__builtin_mul_overflow(rows, cols, &elements) ||
      __builtin_mul_overflow(elements, static_cast<std::int64_t>(size_of(dtype)), &bytes)) {
    fail(ErrorKind::out_of_memory, "a tensor [", rows, ", ", cols, "] exceeds the address space");
  }
  Storage storage{backend.allocate(static_cast<std::size_t>(bytes)), {}};
  storage.tensor = view(storage.buffer.data.get(), rows, cols, dtype);
  backend.fill(storage.tensor, 0);
  return storage;
}

}  // namespace bertx
