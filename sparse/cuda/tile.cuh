// Tiles in shared memory that tensor cores read.
#pragma once

#include "cuda/device.cuh"

namespace bertx::sparse::cuda {

/// Bytes that are copied and loaded at a time.
constexpr int kPart = 16;

/// Rows of kBytes, 64 or a multiple of 128. The parts of a row change places from row to row, so that the same part of
/// eight successive rows meets all banks; kPairs: so that two successive parts of four successive rows do.
template <int kBytes, bool kPairs = false>
struct Tile {
  static constexpr int kParts = kBytes / kPart;
  static_assert(kBytes % 128 == 0 || (kBytes == 64 && !kPairs));
  unsigned char* at;

  __device__ __forceinline__ unsigned char* part(int row, int part) const {
    const int turn = kPairs ? row % 4 * 2 : kParts >= 8 ? row % 8 : row / 2 % 4;
    return at + row * kBytes + (part ^ turn) * kPart;
  }
};

}  // namespace bertx::sparse::cuda
