#include "bertx/exec.h"

namespace bertx {

Tensor Exec::integers(std::span<const std::int32_t> host) {
  // The views handed out are only read; Tensor has no const form.
  const Tensor source =
      view(const_cast<std::int32_t*>(host.data()), 1, static_cast<std::int64_t>(host.size()), DType::i32);
  if (backend.host_memory()) return source;
  const Tensor device = arena.take(1, source.cols, DType::i32);
  backend.upload(source, device);
  return device;
}

Tensor Exec::reals(std::span<const float> host, std::int64_t rows, std::int64_t cols) {
  const Tensor source = view(const_cast<float*>(host.data()), rows, cols, DType::f32);
  if (backend.host_memory() && backend.real() == DType::f32) return source;
  const Tensor device = take(rows, cols);
  backend.upload(source, device);
  return device;
}

}  // namespace bertx
