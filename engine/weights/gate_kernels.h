// Hard concrete gates (see bertx/gated_weight.h) of one row of scores, compiled once per instruction set.
#pragma once

#include <cstdint>

namespace bertx::cpu {

constexpr double gate_low = -0.1, gate_high = 1.1;  // what s in [0, 1] is stretched to before it is clamped
constexpr double gate_least_uniform = 1e-4;

/// M and dM/dS without noise.
using SettleGates = void(const float* scores, float* gates, float* slopes, int64_t count);
/// With noise from random_u32(seed, row, column), of which 24 bits are used.
using DrawGates = void(const float* scores, uint64_t seed, int64_t row, float* gates, float* slopes, int64_t count);

#define BERTX_DECLARE_GATES(isa) \
  namespace isa {                \
  SettleGates settle_gates;      \
  DrawGates draw_gates;          \
  }
BERTX_DECLARE_GATES(portable)
BERTX_DECLARE_GATES(avx2)
BERTX_DECLARE_GATES(avx512)
#undef BERTX_DECLARE_GATES

}  // namespace bertx::cpu
