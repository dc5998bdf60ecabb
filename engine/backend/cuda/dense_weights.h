// Dense weights for inference: one matrix on the device in the type of the products, and the ways to multiply by it.
#pragma once

#include <memory>
#include <vector>

#include "backend/cuda/matmul.h"
#include "backend/cuda/tuner.h"

namespace bertx::cuda {

/// A copy of W [rows, cols] as products take it: f32, f32 rounded to TF32, or bf16; rows begin at multiples of 16
/// bytes.
struct DenseMatrix {
  DenseMatrix(Device& device, Tensor w, Inputs inputs);

  Device& device;
  Inputs inputs;
  std::int64_t rows, cols, stride;
  Buffer numbers;
};

/// The forms, cuBLASLt's first. `matrix` is called when the first of them is made; all share what it gives.
std::vector<Candidate> dense_candidates(Inputs inputs, std::function<std::shared_ptr<const DenseMatrix>()> matrix);

}  // namespace bertx::cuda
