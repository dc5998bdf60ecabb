// The weight gradient at the places of a pattern: dvalues[n] += <dy[row], x[column(n)]>. A row of dy stays in
// registers; four nonzeros go at once, so that their sums over lanes are folded together.
#include "cpu/fold.h"
#include "cpu/kernels.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

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
