// Between tensors and the pointers that sparse/cuda takes.
#pragma once

#include "backend/cuda/cuda.h"
#include "cuda/launch.h"
#include "cuda/structured_layout.h"
#include "cuda/tiled_layout.h"

namespace bertx::cuda {

inline sparse::cuda::Input input(Tensor x) { return {x.data, x.stride}; }
inline sparse::cuda::Number number_of(Tensor x) {
  return x.dtype == DType::bf16 ? sparse::cuda::Number::bf16 : sparse::cuda::Number::f32;
}
inline sparse::cuda::Output output(Tensor x) { return {x.data, stride_of(x), number_of(x)}; }
/// The epilogue as kernels that have it inside take it.
inline sparse::cuda::Epilogue inside(const Epilogue& epilogue) {
  using Kind = sparse::cuda::Activation;
  static_assert(static_cast<int>(Activation::gelu_erf) == static_cast<int>(Kind::gelu_erf) &&
                static_cast<int>(Activation::gelu_tanh) == static_cast<int>(Kind::gelu_tanh) &&
                static_cast<int>(Activation::relu) == static_cast<int>(Kind::relu) &&
                static_cast<int>(Activation::tanh) == static_cast<int>(Kind::tanh));
  return {vector(epilogue.bias), static_cast<Kind>(epilogue.activation), input(epilogue.residual), false};
}

/// A host array on the device.
template <class T>
Buffer array_on_device(Device& device, const std::vector<T>& values) {
  Buffer out = device.allocate(values.size() * sizeof(T));
  device.write(values.data(), out.data.get(), values.size() * sizeof(T));
  return out;
}
/// A device array [n] on the host.
template <class T>
std::vector<T> array_on_host(Device& device, const void* data, std::int64_t n) {
  std::vector<T> out(static_cast<std::size_t>(n));
  device.read(data, out.data(), out.size() * sizeof(T));
  return out;
}

/// The rows that row_start [1, rows + 1] describes, those with the most nonzeros first; in device memory.
inline Buffer order_of(Device& device, std::int64_t rows, Tensor row_start) {
  const auto starts = array_on_host<std::int32_t>(device, row_start.data, rows + 1);
  return array_on_device(device, sparse::cuda::longest_first(rows, starts.data()));
}

}  // namespace bertx::cuda
