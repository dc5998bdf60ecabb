// bfloat16, the upper half of a float: the rounding that packed weights and activations get.
#pragma once

#include <bit>
#include <cstdint>

namespace bertx::sparse {

/// To nearest, ties to even; too large becomes infinite, NaN stays NaN, and what is smaller than the smallest normal
/// number becomes 0, as the processors' instructions have it.
inline std::uint16_t bf16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t size = bits & 0x7FFFFFFFu;
  if (size > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  if (size < 0x00800000u) return static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

inline float float_from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace bertx::sparse
