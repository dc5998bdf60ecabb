// Memory of the host: allocation, and element-wise conversion between the types of tensors.
#pragma once

#include "bertx/tensor.h"

namespace bertx {

/// Uninitialised, aligned to 64 bytes, never null. Throws Error(out_of_memory) that names the bytes needed.
Buffer allocate_host(std::size_t bytes);

/// to [m, n] = from [m, n], converting between float types; integer types must agree. 16-bit types round through f32.
void convert_host(Tensor from, Tensor to);

/// x [m, n] = value, converted to the type of x
void fill_host(Tensor x, double value);

}  // namespace bertx
