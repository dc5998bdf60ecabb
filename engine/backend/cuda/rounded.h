// Matrices in bf16, for products with bf16 inputs.
#pragma once

#include "backend/cuda/cuda.h"
#include "backend/cuda/matmul.h"

namespace bertx::cuda {

/// A copy of x [rows, cols] in bf16; its rows begin at multiples of 16 bytes, as tensor cores and vector loads like
/// them.
class Rounded {
 public:
  Rounded(Device& device, Tensor x) : rows_(x.rows), stride_((x.cols + 7) / 8 * 8), bits_(device, rows_ * stride_) {
    to_bf16(device.stream(), const_matrix(x), shape_of(x), bits_.get(), stride_);
  }
  const std::uint16_t* data() const { return bits_.get(); }
  std::int64_t stride() const { return stride_; }
  std::size_t bytes() const { return static_cast<std::size_t>(rows_ * stride_) * sizeof(std::uint16_t); }
  Factor factor(bool transposed) const { return {data(), stride_, transposed}; }

 private:
  std::int64_t rows_, stride_;
  Scratch<std::uint16_t> bits_;
};

}  // namespace bertx::cuda
