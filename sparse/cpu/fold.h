// Sums over the lanes of four vectors at once, for the files compiled per instruction set.
#pragma once

#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

using Four = VectorOf<16>::Type;

/// The sums over the lanes of a, b, c and d.
BERTX_INLINE Four fold(VectorOf<16>::Type a, VectorOf<16>::Type b, VectorOf<16>::Type c, VectorOf<16>::Type d) {
  const Four ab = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  const Four cd = __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

#if BERTX_VECTOR_BYTES >= 32
using Eight = VectorOf<32>::Type;
BERTX_INLINE Four fold(Eight a, Eight b, Eight c, Eight d) {
  const Eight ac = __builtin_shufflevector(a, c, 0, 1, 2, 3, 8, 9, 10, 11) +
                   __builtin_shufflevector(a, c, 4, 5, 6, 7, 12, 13, 14, 15);
  const Eight bd = __builtin_shufflevector(b, d, 0, 1, 2, 3, 8, 9, 10, 11) +
                   __builtin_shufflevector(b, d, 4, 5, 6, 7, 12, 13, 14, 15);
  const Eight abcd = __builtin_shufflevector(ac, bd, 0, 1, 8, 9, 4, 5, 12, 13) +
                     __builtin_shufflevector(ac, bd, 2, 3, 10, 11, 6, 7, 14, 15);
  const Eight sums = abcd + __builtin_shufflevector(abcd, abcd, 1, 0, 3, 2, 5, 4, 7, 6);
  return __builtin_shufflevector(sums, sums, 0, 2, 4, 6);
}
#endif

#if BERTX_VECTOR_BYTES >= 64
using Sixteen = VectorOf<64>::Type;
BERTX_INLINE Four fold(Sixteen a, Sixteen b, Sixteen c, Sixteen d) {
  const auto halves = [](Sixteen v) __attribute__((always_inline)) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  };
  return fold(halves(a), halves(b), halves(c), halves(d));
}
#endif

}  // namespace
}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
