// Products of bf16 weights with vdpbf16ps, which adds to each float the products of a pair of bf16 numbers. The two
// activation rows of a pair of nonzeros are interleaved by one unpack for the low and one for the high half of each
// 128-bit lane; that the sums come out in the tokens' order is the business of pack_pair_tokens. Unpacks run beside the
// products rather than before them, so that they hardly show: what bounds the kernel is loads, half as many as floats
// need (one core, 768x768 at 10 %: 133 GFLOP/s at 64 tokens against 71 with floats; bertx_spmm_bench).
//
// Widths are 4, 8, or a multiple of 16 tokens: whole vectors of 32 tokens, and half a one where 16 are left.
#include <immintrin.h>

#include "cpu/pair_kernels.h"
#include "cpu/vectors.h"

namespace bertx::sparse::BERTX_ISA_NAMESPACE {
namespace {

typedef const uint16_t* Words;

/// 32 tokens of a row: their words, and two vectors of their sums.
struct Full {
  typedef __m512 Sum;
  static constexpr int kSums = 2, kLanes = 16;
  static BERTX_INLINE __m512i words(Words p) { return _mm512_load_si512(p); }
  static BERTX_INLINE __m512i pairs(__m512i a, __m512i b, int half) {
    return half ? _mm512_unpackhi_epi16(a, b) : _mm512_unpacklo_epi16(a, b);
  }
  static BERTX_INLINE Sum add_products(Sum sum, __m512i pairs, int w) {
    return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32(w));
  }
};

struct Half {
  typedef __m256 Sum;
  static constexpr int kSums = 2, kLanes = 8;
  static BERTX_INLINE __m256i words(Words p) { return _mm256_load_si256((const __m256i*)p); }
  static BERTX_INLINE __m256i pairs(__m256i a, __m256i b, int half) {
    return half ? _mm256_unpackhi_epi16(a, b) : _mm256_unpacklo_epi16(a, b);
  }
  static BERTX_INLINE Sum add_products(Sum sum, __m256i pairs, int w) {
    return _mm256_dpbf16_ps(sum, (__m256bh)pairs, (__m256bh)_mm256_set1_epi32(w));
  }
};

struct Eight {
  typedef __m128 Sum;
  static constexpr int kSums = 2, kLanes = 4;
  static BERTX_INLINE __m128i words(Words p) { return _mm_load_si128((const __m128i*)p); }
  static BERTX_INLINE __m128i pairs(__m128i a, __m128i b, int half) {
    return half ? _mm_unpackhi_epi16(a, b) : _mm_unpacklo_epi16(a, b);
  }
  static BERTX_INLINE Sum add_products(Sum sum, __m128i pairs, int w) {
    return _mm_dpbf16_ps(sum, (__m128bh)pairs, (__m128bh)_mm_set1_epi32(w));
  }
};

struct Four : Eight {
  static constexpr int kSums = 1;
  static BERTX_INLINE __m128i words(Words p) { return _mm_loadl_epi64((const __m128i*)p); }
};

/// Both unpacks take the words from registers; left alone, the compiler gives each its own loads, and loads are what
/// the product is short of.
template <class V>
BERTX_INLINE void in_registers(V& a, V& b) {
  asm("" : "+v"(a), "+v"(b));
}

/// A row's sums: kParts parts of one kind, and then one of another where kTail is 1.
template <class Part, int kParts, class Tail, int kTail>
struct Strip {
  static constexpr int kPartTokens = Part::kSums * Part::kLanes;
  /// Words from one row of x to the next: no vector of 32 crosses a cache line.
  static constexpr int64_t kStride = kParts * kPartTokens + (kTail != 0 ? 32 : 0);
  static constexpr int kSums = kParts * Part::kSums;
  typename Part::Sum sums[kSums > 0 ? kSums : 1];
  typename Tail::Sum tail[Tail::kSums];

  BERTX_INLINE void begin(float value) {
    for (int s = 0; s < kSums; ++s) sums[s] = value - typename Part::Sum{};
    for (int s = 0; s < kTail * Tail::kSums; ++s) tail[s] = value - typename Tail::Sum{};
  }
  BERTX_INLINE void resume(const float* from) {
    for (int s = 0; s < kSums; ++s) sums[s] = load<typename Part::Sum>(from + s * Part::kLanes);
    from += kSums * Part::kLanes;
    for (int s = 0; s < kTail * Tail::kSums; ++s) tail[s] = load<typename Tail::Sum>(from + s * Tail::kLanes);
  }
  BERTX_INLINE void keep(float* to) const {
    for (int s = 0; s < kSums; ++s) store(to + s * Part::kLanes, sums[s]);
    to += kSums * Part::kLanes;
    for (int s = 0; s < kTail * Tail::kSums; ++s) store(to + s * Tail::kLanes, tail[s]);
  }
  /// += the pair of values * the rows a and b of x
  BERTX_INLINE void add(Words values, Words a, Words b) {
    int w;
    __builtin_memcpy(&w, values, sizeof w);
    for (int p = 0; p < kParts; ++p) {
      auto x = Part::words(a + p * kPartTokens), z = Part::words(b + p * kPartTokens);
      in_registers(x, z);
      for (int s = 0; s < Part::kSums; ++s) {
        auto& sum = sums[p * Part::kSums + s];
        sum = Part::add_products(sum, Part::pairs(x, z, s), w);
      }
    }
    if (!kTail) return;
    auto x = Tail::words(a + kParts * kPartTokens), z = Tail::words(b + kParts * kPartTokens);
    in_registers(x, z);
    for (int s = 0; s < Tail::kSums; ++s) tail[s] = Tail::add_products(tail[s], Tail::pairs(x, z, s), w);
  }
};

/// x [features, tokens] to bf16 rows, and a row of zeros. Of 32 tokens a 128-bit lane holds four of the first 16 and
/// then four of the last, since unpacking takes the lower four of every lane into the first vector of sums; of 16
/// tokens likewise.
struct Packing {
  const float* x;
  int64_t ldx, features, tokens;
  uint16_t* block;

  template <int kWidth>
  void narrow() const {
    const __mmask8 mask = static_cast<__mmask8>((1u << tokens) - 1);
    uint16_t* to = block;
    for (int64_t f = 0; f < features; ++f, to += kWidth) {
      const __m128i words = (__m128i)_mm256_cvtneps_pbh(_mm256_maskz_loadu_ps(mask, x + f * ldx));
      __builtin_memcpy(to, &words, kWidth * sizeof *to);
    }
    __builtin_memset(to, 0, kWidth * sizeof *to);
  }

  template <int kFull, bool kHalf>
  void wide() const {
    constexpr int kVectors = 2 * kFull + kHalf, kStride = kFull == 0 ? 16 : 32 * (kFull + kHalf);
    __mmask16 mask[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const int64_t left = tokens - 16 * v;
      mask[v] = static_cast<__mmask16>(left >= 16 ? 0xFFFF : left <= 0 ? 0 : (1u << left) - 1);
    }
    uint16_t* to = block;
    for (int64_t f = 0; f < features; ++f, to += kStride) {
      const float* const from = x + f * ldx;
      for (int v = 0; v + 1 < kVectors; v += 2) {
        const __m512 low = _mm512_maskz_loadu_ps(mask[v], from + 16 * v);
        const __m512 high = _mm512_maskz_loadu_ps(mask[v + 1], from + 16 * v + 16);
        const __v8di words = (__v8di)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(to + 16 * v, (__m512i)__builtin_shufflevector(words, words, 0, 4, 1, 5, 2, 6, 3, 7));
      }
      if constexpr (kHalf) {
        constexpr int v = kVectors - 1;
        const __v4di words = (__v4di)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask[v], from + 16 * v));
        _mm256_store_si256((__m256i*)(to + 16 * v), (__m256i)__builtin_shufflevector(words, words, 0, 2, 1, 3));
      }
    }
    __builtin_memset(to, 0, kStride * sizeof *to);
  }
};

struct DotKernel {
  const PairCell& cell;
  Words x;
  const float* bias;
  bool first;
  float* y;
  int64_t ldy;

  template <class Row>
  __attribute__((noinline)) void run() const {
    const uint16_t *row = cell.rows, *pairs = cell.pairs;
    for (int64_t g = 0; g < cell.group_count; ++g) {
      const int64_t words = cell.groups[g].length * kPairWords;
      int64_t left = cell.groups[g].count;
      for (; left >= kPairRows; left -= kPairRows, row += kPairRows, pairs += kPairRows * words) {
        segments<Row, kPairRows>(row, pairs, words);
      }
      for (; left > 0; --left, ++row, pairs += words) segments<Row, 1>(row, pairs, words);
    }
  }

 private:
  /// Rows side by side: one alone has too few sums to fill the pipeline.
  template <class Row, int kRows>
  BERTX_INLINE void segments(const uint16_t* row, const uint16_t* pair, int64_t words) const {
    Row strip[kRows];
    if (first) {
      for (int r = 0; r < kRows; ++r) strip[r].begin(bias ? bias[row[r]] : 0.0f);
    } else {
      for (int r = 0; r < kRows; ++r) strip[r].resume(y + row[r] * ldy);
    }
    for (const uint16_t* const end = pair + kRows * words; pair < end; pair += kRows * kPairWords) {
      for (int r = 0; r < kRows; ++r) {
        const uint16_t* const p = pair + r * kPairWords;
        strip[r].add(p + 2, x + int64_t{p[0]} * Row::kStride, x + int64_t{p[1]} * Row::kStride);
      }
    }
    for (int r = 0; r < kRows; ++r) strip[r].keep(y + row[r] * ldy);
  }
};

}  // namespace

int64_t pair_block_width(int64_t tokens) { return tokens <= 4 ? 4 : tokens <= 8 ? 8 : (tokens + 15) / 16 * 16; }

void pack_pair_tokens(const float* x, int64_t ldx, int64_t features, int64_t tokens, int64_t width, void* block) {
  const Packing packing{x, ldx, features, tokens, static_cast<uint16_t*>(block)};
  switch (width) {
    case 4: return packing.narrow<4>();
    case 8: return packing.narrow<8>();
    case 16: return packing.wide<0, true>();
    case 32: return packing.wide<1, false>();
    case 48: return packing.wide<1, true>();
    default: return packing.wide<2, false>();
  }
}

void spmm_pair_cell(const PairCell& cell, const void* block, int64_t width, const float* bias, bool first, float* y,
                    int64_t ldy) {
  const DotKernel kernel{cell, static_cast<Words>(block), bias, first, y, ldy};
  switch (width) {
    case 4: return kernel.run<Strip<Four, 1, Four, 0>>();
    case 8: return kernel.run<Strip<Eight, 1, Eight, 0>>();
    case 16: return kernel.run<Strip<Half, 1, Half, 0>>();
    case 32: return kernel.run<Strip<Full, 1, Half, 0>>();
    case 48: return kernel.run<Strip<Full, 1, Half, 1>>();
    default: return kernel.run<Strip<Full, 2, Half, 0>>();
  }
}

}  // namespace bertx::sparse::BERTX_ISA_NAMESPACE
