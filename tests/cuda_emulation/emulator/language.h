// CUDA C++ as a host compiler reads it: qualifiers mean nothing, the machine is grid.h.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "grid.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
// Blocks run one after the other: one copy serves them all, and holds what the block before left there.
#define __shared__ static

// ---- barriers ----------------------------------------------------------------------------------------------------

inline void __syncthreads(cuda_emulation::Where where = cuda_emulation::Where::current()) {
  cuda_emulation::barrier(false, where);
}
inline int __syncthreads_count(int predicate, cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::barrier(predicate != 0, where);
}
inline int __syncthreads_or(int predicate, cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::barrier(predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate, cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::barrier(predicate == 0, where) == 0;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, cuda_emulation::Where where = cuda_emulation::Where::current()) {
  cuda_emulation::meet_warp(
      mask, [](void* const(&)[32], unsigned) {}, nullptr, where);
}
inline unsigned __activemask() { return cuda_emulation::lanes_alive(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- exchanges of a warp -----------------------------------------------------------------------------------------

namespace cuda_emulation {

template <class T>
struct Shuffled {
  T value, result;
  int source;  ///< lane
  bool refused = false;
};

/// The value of lane `source` (of the same warp); every lane names its own source.
template <class T>
T shuffle(unsigned mask, T value, int source, Where where) {
  Shuffled<T> mine{value, value, source};
  meet_warp(
      mask,
      [](void* const(&lanes)[32], unsigned here) {
        for (unsigned i = 0; i < 32; ++i) {
          if ((here >> i & 1u) == 0) continue;
          auto& one = *static_cast<Shuffled<T>*>(lanes[i]);
          one.refused = (here >> one.source & 1u) == 0;
          if (!one.refused) one.result = static_cast<const Shuffled<T>*>(lanes[one.source])->value;
        }
      },
      &mine, where);
  if (mine.refused) refuse("reads the value of a lane that takes no part", where);
  return mine.result;
}

/// What of the lanes' predicates is true, a bit each.
inline unsigned ballot(unsigned mask, bool predicate, Where where) {
  struct Vote {
    bool mine;
    unsigned all;
  } vote{predicate, 0};
  meet_warp(
      mask,
      [](void* const(&lanes)[32], unsigned here) {
        unsigned all = 0;
        for (unsigned i = 0; i < 32; ++i) {
          if ((here >> i & 1u) != 0 && static_cast<const Vote*>(lanes[i])->mine) all |= 1u << i;
        }
        for (unsigned i = 0; i < 32; ++i) {
          if ((here >> i & 1u) != 0) static_cast<Vote*>(lanes[i])->all = all;
        }
      },
      &vote, where);
  return vote.all;
}

}  // namespace cuda_emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const int segment = cuda_emulation::lane() / width * width;
  return cuda_emulation::shuffle(mask, value, segment + (source & (width - 1)), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  cuda_emulation::Where where = cuda_emulation::Where::current()) {
  // A lane may be read from a lower segment, not from a higher one.
  const int own = cuda_emulation::lane(), other = own ^ bits;
  return cuda_emulation::shuffle(mask, value, other < (own / width + 1) * width ? other : own, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const int own = cuda_emulation::lane(), other = own - static_cast<int>(delta);
  return cuda_emulation::shuffle(mask, value, other >= own / width * width ? other : own, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const int own = cuda_emulation::lane(), other = own + static_cast<int>(delta);
  return cuda_emulation::shuffle(mask, value, other < (own / width + 1) * width ? other : own, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::ballot(mask, predicate != 0, where);
}
inline int __any_sync(unsigned mask, int predicate, cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::ballot(mask, predicate != 0, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::ballot(mask, predicate == 0, where) == 0;
}

// ---- atomics: threads take turns, so plain operations are ----------------------------------------------------------

template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}
template <class T>
T atomicMax(T* at, T value) {
  const T before = *at;
  if (before < value) *at = value;
  return before;
}
template <class T>
T atomicMin(T* at, T value) {
  const T before = *at;
  if (value < before) *at = value;
  return before;
}
template <class T>
T atomicExch(T* at, T value) {
  const T before = *at;
  *at = value;
  return before;
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  const T before = *at;
  if (before == expected) *at = value;
  return before;
}
template <class T>
T atomicOr(T* at, T value) {
  const T before = *at;
  *at = before | value;
  return before;
}
