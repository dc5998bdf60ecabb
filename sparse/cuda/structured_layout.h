// A matrix of which no four successive columns 4k … 4k + 3 of a row have more than two nonzeros (2:4), laid out for the
// sparse products of tensor cores (spmm_structured of launch.h). Built on the host; no CUDA here.
//
// Of each four columns two numbers are kept, in bf16, and where they stood: two bits each, the first in the lower ones.
// The hardware takes the bits of 16 rows and 32 columns from two of each four lanes, as two rows to a word:
//
//   lane 4g      row g, columns 0 … 15 (lower half); row g + 8, columns 0 … 15 (upper half)
//   lane 4g + 1  the same rows, columns 16 … 31
//
// (PTX ISA, "Matrix Fragments for sparse mma.m16n8k32", sparsity selector 0; with selector 1 it is the lanes 4g + 2 and
// 4g + 3.) So 32 rows and 32 columns are one word a lane, their lower 16 rows by selector 0, their upper ones by 1.
#pragma once

#include <cstdint>
#include <vector>

#include "bertx/sparse/csr.h"
#include "cuda/launch.h"

namespace bertx::sparse::cuda {

/// Whether a matrix is one of these. Zeros that are stored count as nonzeros.
bool two_of_four(const CsrView<float>& w);

/// The arrays of Structured, in host memory.
struct StructuredLayout {
  Structured shape;  ///< its pointers are null
  std::vector<std::uint16_t> values;
  std::vector<std::uint32_t> places;
};

/// Expects two_of_four(w).
StructuredLayout structured_layout(const CsrView<float>& w);

}  // namespace bertx::sparse::cuda
