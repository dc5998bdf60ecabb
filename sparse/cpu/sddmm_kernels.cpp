// The weight gradient at the places of a pattern: dvalues[n] += <dy[row], x[column(n)]>. A row of dy stays in
// registers; four nonzeros go at once, so that their sums over lanes are folded together.
#include "cpu/kernels.h"
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

struct SddmmKernel {
  const RowRange& pattern;
  const float* dy;
  int64_t lddy;
  const float* x;
  int64_t tokens;
  float* dvalues;

  template <class V, int kVectors>
  __attribute__((noinline)) void run() const {
    constexpr int64_t lanes = sizeof(V) / 4, width = kVectors * lanes;
    for (int64_t row = pattern.first; row < pattern.last; ++row) {
      float whole[width] = {};
      for (int64_t t = 0; t < tokens; ++t) whole[t] = dy[row * lddy + t];
      V d[kVectors];
      for (int v = 0; v < kVectors; ++v) d[v] = load<V>(whole + v * lanes);
      const int64_t last = pattern.row_start[row + 1];
      int64_t n = pattern.row_start[row];
      for (; n + 4 <= last; n += 4) {
        const int32_t* const c = pattern.columns + n;
        store(dvalues + n, load<Four>(dvalues + n) + four_sums(d, c[0], c[1], c[2], c[3]));
      }
      for (; n < last; ++n) dvalues[n] += four_sums(d, pattern.columns[n], 0, 0, 0)[0];
    }
  }

 private:
  template <class V, int kVectors>
  BERTX_INLINE Four four_sums(const V (&d)[kVectors], int64_t c0, int64_t c1, int64_t c2, int64_t c3) const {
    constexpr int64_t lanes = sizeof(V) / 4, width = kVectors * lanes;
    V a{}, b{}, c{}, e{};
    for (int v = 0; v < kVectors; ++v) {
      a += d[v] * load<V>(x + c0 * width + v * lanes);
      b += d[v] * load<V>(x + c1 * width + v * lanes);
      c += d[v] * load<V>(x + c2 * width + v * lanes);
      e += d[v] * load<V>(x + c3 * width + v * lanes);
    }
    if constexpr (sizeof(V) == 4) {
      return Four{a, b, c, e};
    } else {
      return fold(a, b, c, e);
    }
  }
};

}  // namespace

void sddmm_rows(const RowRange& pattern, const float* dy, int64_t lddy, const float* block, int64_t width,
                int64_t tokens, float* dvalues) {
  for_width(width, SddmmKernel{pattern, dy, lddy, block, tokens, dvalues});
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
