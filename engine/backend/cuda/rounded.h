// Matrices in bf16, for products with bf16 inputs.
#pragma once

#include <optional>

#include "backend/cuda/cuda.h"
#include "backend/cuda/matmul.h"

namespace bertx::cuda {

/// x [rows, cols] in bf16; its rows begin at multiples of 16 bytes, as tensor cores and vector loads like them. A copy,
/// unless x is that already.
class Rounded {
 public:
  Rounded(Device& device, Tensor x) : stride_((x.cols + 7) / 8 * 8) {
    if (x.dtype == DType::bf16 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.stride % 8 == 0) {
      data_ = static_cast<const std::uint16_t*>(x.data);
      stride_ = x.stride;
      return;
    }
    copy_.emplace(device, x.rows * stride_);
    data_ = copy_->get();
    if (x.dtype == DType::bf16) {
      copy_2d(x, {copy_->get(), x.rows, x.cols, stride_, DType::bf16}, cudaMemcpyDeviceToDevice, device.stream());
    } else {
      to_bf16(device.stream(), const_matrix(x), shape_of(x), {copy_->get(), stride_});
    }
  }
  const std::uint16_t* data() const { return data_; }
  std::int64_t stride() const { return stride_; }
  Factor factor(bool transposed) const { return {data(), stride_, transposed}; }

 private:
  std::int64_t stride_;
  const std::uint16_t* data_ = nullptr;
  std::optional<Scratch<std::uint16_t>> copy_;
};

}  // namespace bertx::cuda
