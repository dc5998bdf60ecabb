// Vectors of one instruction set, their partial loads and stores, reductions and transposition. Only for files that
// are compiled per instruction set: everything here has internal linkage, so that each gets its own copy.
#pragma once

#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>  // its functions are never emitted out of line, so they cannot leak between files
#endif

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

constexpr int64_t kLanes = BERTX_VECTOR_BYTES / 4;
typedef float Vector __attribute__((vector_size(BERTX_VECTOR_BYTES)));
typedef int32_t IntVector __attribute__((vector_size(BERTX_VECTOR_BYTES)));
typedef uint32_t WordVector __attribute__((vector_size(BERTX_VECTOR_BYTES)));

#define BERTX_INLINE inline __attribute__((always_inline))

BERTX_INLINE Vector load(const float* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
BERTX_INLINE void store(float* to, Vector v) { __builtin_memcpy(to, &v, sizeof v); }
BERTX_INLINE Vector fill(float value) { return value - Vector{}; }
BERTX_INLINE WordVector fill_words(uint32_t value) { return value - WordVector{}; }
BERTX_INLINE Vector max(Vector a, Vector b) { return a > b ? a : b; }
BERTX_INLINE Vector abs(Vector x) { return (Vector)((IntVector)x & 0x7FFFFFFF); }
BERTX_INLINE Vector copy_sign(Vector magnitude, Vector sign) {
  return (Vector)(((IntVector)magnitude & 0x7FFFFFFF) | ((IntVector)sign & (int32_t)0x80000000));
}

/// Lane i holds i.
BERTX_INLINE IntVector lane_numbers() {
  IntVector v;
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

/// The first `count` (1 … kLanes) lanes from memory, 0 in the others.
BERTX_INLINE Vector load_partial(const float* from, int64_t count) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#elif defined(__AVX2__)
  return _mm256_maskload_ps(from, (__m256i)(lane_numbers() < (int32_t)count));
#else
  Vector v{};
  for (int64_t i = 0; i < count; ++i) v[i] = from[i];
  return v;
#endif
}
BERTX_INLINE void store_partial(float* to, Vector v, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(to, (__m256i)(lane_numbers() < (int32_t)count), v);
#else
  for (int64_t i = 0; i < count; ++i) to[i] = v[i];
#endif
}

/// Loads and stores of whole vectors, or of the `count` lanes that a row has left at its end.
struct Whole {
  BERTX_INLINE Vector load(const float* from) const { return BERTX_ISA_NAMESPACE::load(from); }
  BERTX_INLINE void store(float* to, Vector v) const { BERTX_ISA_NAMESPACE::store(to, v); }
};
struct Partial {
  int64_t count;
  BERTX_INLINE Vector load(const float* from) const { return load_partial(from, count); }
  BERTX_INLINE void store(float* to, Vector v) const { store_partial(to, v, count); }
};

/// Calls body(access, first) for each vector of [0, count).
template <class Body>
BERTX_INLINE void for_vectors(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(Whole{}, i);
  if (i < count) body(Partial{count - i}, i);
}

BERTX_INLINE Vector square_root(Vector x) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xFFFF, x);  // the form without a mask warns in GCC 12
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/// The sum of the lanes, in double.
BERTX_INLINE double lane_sum(Vector v) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

/// Sums of many vectors: float over runs of 32, double over the runs.
struct LongSum {
  Vector run{};
  double total = 0;
  int length = 0;
  BERTX_INLINE void add(Vector v) {
    run += v;
    if (++length == 32) {
      total += lane_sum(run);
      run = Vector{};
      length = 0;
    }
  }
  BERTX_INLINE double sum() const { return total + lane_sum(run); }
};

/// One step of the transposition: of the lanes with bit kBit set, those of the even row change places with those of
/// the odd row that have it clear.
template <int kBit>
BERTX_INLINE void exchange(Vector (&rows)[kLanes]) {
  IntVector even, odd;
  for (int lane = 0; lane < kLanes; ++lane) {
    even[lane] = lane & kBit ? (int)kLanes + lane - kBit : lane;
    odd[lane] = lane & kBit ? (int)kLanes + lane : lane + kBit;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & kBit) continue;
    const Vector a = rows[i], b = rows[i | kBit];
    rows[i] = __builtin_shuffle(a, b, even);
    rows[i | kBit] = __builtin_shuffle(a, b, odd);
  }
}

/// Transposes kLanes vectors of kLanes lanes.
BERTX_INLINE void transpose(Vector (&rows)[kLanes]) {
  exchange<1>(rows);
  exchange<2>(rows);
  if constexpr (kLanes > 4) exchange<4>(rows);
  if constexpr (kLanes > 8) exchange<8>(rows);
}

}  // namespace
}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
