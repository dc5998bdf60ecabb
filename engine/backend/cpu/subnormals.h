// Numbers below 2^-126, with which an operation takes a hundred cycles instead of four. Training makes them: a weight
// that is pruned has no gradient any more, and Adam's mean of its gradients shrinks by a tenth each step until, after
// some 800, it is subnormal, and there it stays.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bertx::cpu {

/// While it lives, this thread takes subnormal floats and doubles for 0 and gives 0 for them (MXCSR: DAZ and FTZ). The
/// caller's own setting comes back with its end.
class SubnormalsAreZero {
 public:
#if defined(__x86_64__)
  SubnormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlush | kDenormalsAreZero); }
  ~SubnormalsAreZero() { _mm_setcsr(before_); }
#else
  SubnormalsAreZero() {}
  ~SubnormalsAreZero() {}
#endif
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

#if defined(__x86_64__)
 private:
  static constexpr unsigned kFlush = 1u << 15, kDenormalsAreZero = 1u << 6;
  unsigned before_;
#endif
};

}  // namespace bertx::cpu
