// The random stream of dropout (random_u32 of bertx/backend.h), a vector of columns at a time. Only for files compiled
// per instruction set; that it is the same stream is tested.
#pragma once

#include "backend/cpu/kernels.h"
#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

class DropoutRow {
 public:
  BERTX_INLINE DropoutRow(DropoutMask mask, int64_t row)
      : mask_(mask), row_hash_(((uint32_t)row + 0x7F4A7C15u) * 0x85EBCA6Bu ^ (uint32_t)(mask.seed >> 32)) {}

  /// random_u32 of the columns from `column` on.
  BERTX_INLINE WordVector bits(int64_t column) const {
    WordVector h = ((WordVector)lane_numbers() + (uint32_t)column) * 0x9E3779B1u ^ (uint32_t)mask_.seed;
    h ^= row_hash_;
    h = (h ^ (h >> 16)) * 0x7FEB352Du;
    h = (h ^ (h >> 15)) * 0x846CA68Bu;
    return h ^ (h >> 16);
  }
  /// x * scale where kept, else 0; lane i stands in column `column` + i.
  BERTX_INLINE Vector apply(Vector x, int64_t column) const {
    return bits(column) >= mask_.threshold ? x * mask_.scale : Vector{};
  }

 private:
  DropoutMask mask_;
  uint32_t row_hash_;
};

}  // namespace
}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
