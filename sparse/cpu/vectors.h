// Vectors and the inner loop of W X, for the files compiled per instruction set. Everything here has internal
// linkage: each instruction set gets its own copy.
#pragma once

#include <stdint.h>

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

template <int kBytes>
struct VectorOf {
  typedef float Type __attribute__((vector_size(kBytes)));
};
template <>
struct VectorOf<4> {
  typedef float Type;
};

constexpr int64_t kLanes = BERTX_VECTOR_BYTES / 4;
constexpr int kMostVectors = 8;  // accumulators of one row; 16 registers leave room for a weight and an operand
using Vector = VectorOf<BERTX_VECTOR_BYTES>::Type;

#define BERTX_INLINE inline __attribute__((always_inline))

template <class V>
BERTX_INLINE V load(const float* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class V>
BERTX_INLINE void store(float* to, V v) {
  __builtin_memcpy(to, &v, sizeof v);
}

template <class V>
BERTX_INLINE V fill(float value) {
  return value - V{};
}

/// sum + a * b, rounded once where the instruction set can: compilers contract the vectors by themselves, but break up
/// a chain of scalars, and a token alone must get the bits that it gets in a batch.
template <class V>
BERTX_INLINE V multiply_add(float a, V b, V sum) {
  return sum + a * b;
}
#ifdef __FP_FAST_FMAF
template <>
BERTX_INLINE float multiply_add(float a, float b, float sum) {
  return __builtin_fmaf(a, b, sum);
}
#endif

/// acc[:] += w * x[c, :]
template <class V, int kVectors>
BERTX_INLINE void add_product(float w, int64_t c, const float* x, V (&acc)[kVectors]) {
  constexpr int64_t lanes = sizeof(V) / 4, width = kVectors * lanes;
  for (int v = 0; v < kVectors; ++v) acc[v] = multiply_add(w, load<V>(x + c * width + v * lanes), acc[v]);
}

/// acc[:] += w[n] * x[c[n], :] for n in [first, last).
template <class V, int kVectors, class Column>
BERTX_INLINE void run_chain(const float* w, const Column* c, int64_t first, int64_t last, const float* x,
                            V (&acc)[kVectors]) {
#pragma GCC unroll 4
  for (int64_t n = first; n < last; ++n) add_product(w[n], c[n], x, acc);
}

/// The same for kRows rows side by side, because one chain of multiply-adds waits for its own result and only several
/// fill the pipeline.
template <class V, int kVectors, int kRows, class Column>
BERTX_INLINE void run_chains(const float* const (&w)[kRows], const Column* const (&c)[kRows], int64_t count,
                             const float* x, V (&acc)[kRows][kVectors]) {
#pragma GCC unroll 4
  for (int64_t n = 0; n < count; ++n) {
    for (int r = 0; r < kRows; ++r) add_product(w[r][n], c[r][n], x, acc[r]);
  }
}

/// Chains that one row of `vectors` accumulators needs beside it.
constexpr int rows_at_once(int vectors) { return vectors >= 4 ? 1 : vectors >= 2 ? 2 : 4; }

/// Calls kernel.run<V, kVectors>() for the vectors that make up `width`: the ways of block_width().
template <class Kernel>
BERTX_INLINE void for_width(int64_t width, const Kernel& kernel) {
  if (width == 1) return kernel.template run<VectorOf<4>::Type, 1>();
  if constexpr (kLanes > 4) {
    if (width == 4) return kernel.template run<VectorOf<16>::Type, 1>();
  }
  if constexpr (kLanes > 8) {
    if (width == 8) return kernel.template run<VectorOf<32>::Type, 1>();
  }
  switch (width / kLanes) {
    case 1: return kernel.template run<Vector, 1>();
    case 2: return kernel.template run<Vector, 2>();
    case 3: return kernel.template run<Vector, 3>();
    case 4: return kernel.template run<Vector, 4>();
    case 5: return kernel.template run<Vector, 5>();
    case 6: return kernel.template run<Vector, 6>();
    case 7: return kernel.template run<Vector, 7>();
    default: return kernel.template run<Vector, kMostVectors>();
  }
}

}  // namespace
}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
