// Rounding to bf16, the upper half of a float: to nearest, ties to even; NaN stays NaN, too large becomes infinite, and
// what is smaller than the smallest normal number becomes 0, as the processors' bf16 instructions have it. In integers,
// so that every instruction set gives the same bits.
#include "backend/cpu/kernels.h"
#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

typedef uint16_t HalfVector __attribute__((vector_size(BERTX_VECTOR_BYTES / 2)));

/// The upper half of each lane is the bf16; the lower half is not cleared.
BERTX_INLINE WordVector rounded(Vector x) {
  const WordVector bits = (WordVector)x, size = bits & 0x7FFFFFFFu;
  WordVector out = bits + 0x7FFFu + (bits >> 16 & 1u);
  out = size > 0x7F800000u ? bits | 0x00400000u : out;
  return size < 0x00800000u ? bits & 0x80000000u : out;
}

}  // namespace

void to_bf16(ConstMatrix x, int64_t cols, int64_t width, HalfMatrix out, Range rows) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const float* const from = x.data + row * x.stride;
    uint16_t* const to = out.data + row * out.stride;
    for (int64_t j = 0; j < width; j += kLanes) {
      const Vector value = j + kLanes <= cols ? load(from + j) : j < cols ? load_partial(from + j, cols - j) : Vector{};
      const HalfVector half = __builtin_convertvector(rounded(value) >> 16, HalfVector);
      __builtin_memcpy(to + j, &half, sizeof half);
    }
  }
}

void round_to_bf16(ConstMatrix x, int64_t cols, Matrix out, Range rows) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    for_vectors(cols, [&](auto access, int64_t j) {
      const WordVector bits = rounded(access.load(x.data + row * x.stride + j)) & 0xFFFF0000u;
      access.store(out.data + row * out.stride + j, (Vector)bits);
    });
  }
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
