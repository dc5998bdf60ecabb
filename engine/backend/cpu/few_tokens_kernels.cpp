// Dense products for a handful of tokens, where reading W from memory is most of the work: lanes run along k, so that
// no lane is wasted whatever the number of tokens, W is read once, in the order it lies in, and the rows to come are
// prefetched. X is wanted token by token, which transposed() makes of it.
#include "backend/cpu/kernels.h"
#include "backend/cpu/vectors.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

/// The sums over the lanes of kLanes vectors, in one vector.
BERTX_INLINE Vector sums(Vector (&v)[kLanes]) {
  transpose(v);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) v[i] += v[i + half];
  }
  return v[0];
}

/// kLanes weights from `from`, or the last ones of a row; rows of bf16 weights go on with zeros to whole vectors.
template <class Access>
BERTX_INLINE Vector load_weights(const Access& access, const float* from) {
  return access.load(from);
}
template <class Access>
BERTX_INLINE Vector load_weights(const Access&, const uint16_t* from) {
  typedef uint16_t HalfVector __attribute__((vector_size(BERTX_VECTOR_BYTES / 2)));
  HalfVector half;
  __builtin_memcpy(&half, from, sizeof half);
  return (Vector)(__builtin_convertvector(half, WordVector) << 16);
}

/// Tokens of a tile; with the rows they make up kLanes accumulators.
template <int kTokens>
constexpr int64_t kRows = kLanes / kTokens;

/// Y [rows, tokens] (+)= W [rows, k] X [k, tokens], at most kRows rows and kTokens tokens. `ahead`: rows of W from
/// kRows on, of which this tile prefetches every `step`-th.
template <int kTokens, class Weight>
BERTX_INLINE void tile(const Weight* w, int64_t ldw, int64_t rows, const float* x, int64_t ldx, int64_t k,
                       int64_t ahead, int64_t step, Matrix y, int64_t tokens, bool add) {
  const Weight* row[kRows<kTokens>];
  for (int64_t r = 0; r < kRows<kTokens>; ++r) row[r] = w + (r < rows ? r : rows - 1) * ldw;
  const Weight* const next = w + kRows<kTokens> * ldw;
  Vector sum[kLanes] = {};
  const auto add_products = [&](auto access, int64_t p) {
    Vector factor[kTokens];
    for (int64_t t = 0; t < kTokens; ++t) factor[t] = load(x + t * ldx + p);
    for (int64_t r = 0; r < kRows<kTokens>; ++r) {
      const Vector weight = load_weights(access, row[r] + p);
      for (int64_t t = 0; t < kTokens; ++t) sum[r * kTokens + t] += weight * factor[t];
    }
  };
  int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    for (int64_t r = ahead; r < kRows<kTokens>; r += step) __builtin_prefetch(next + r * ldw + p, 0, 2);
    add_products(Whole{}, p);
  }
  if (p < k) add_products(Partial{k - p}, p);
  const Vector total = sums(sum);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = 0; t < tokens; ++t) {
      float* const to = y.data + r * y.stride + t;
      *to = total[r * kTokens + t] + (add ? *to : 0.0f);
    }
  }
}

template <int kTokens, class Weights>
void product(Weights w, ConstMatrix x, int64_t k, int64_t tokens, Matrix y, Range rows, bool add) {
  const int64_t tiles = (tokens + kTokens - 1) / kTokens;
  for (int64_t i = rows.first; i < rows.last; i += kRows<kTokens>) {
    const int64_t left = rows.last - i, count = left < kRows<kTokens> ? left : kRows<kTokens>;
    const bool more = left >= 2 * kRows<kTokens>;
    for (int64_t tile_index = 0; tile_index < tiles; ++tile_index) {
      const int64_t t = tile_index * kTokens;
      tile<kTokens>(w.data + i * w.stride, w.stride, count, x.data + t * x.stride, x.stride, k,
                    more ? tile_index : kLanes, tiles, {y.data + i * y.stride + t, y.stride},
                    tokens - t < kTokens ? tokens - t : kTokens, add);
    }
  }
}

}  // namespace

// x [k, tokens] -> out [tokens rounded up to 4, k in whole vectors], the rest 0
void transposed(ConstMatrix x, int64_t k, int64_t tokens, Matrix out) {
  for (int64_t t = 0; t < (tokens + 3) / 4 * 4; t += kLanes) {
    for (int64_t p = 0; p < k; p += kLanes) {
      Vector block[kLanes];
      const int64_t width = tokens - t;
      for (int64_t r = 0; r < kLanes; ++r) {
        const float* const from = x.data + (p + r) * x.stride + t;
        block[r] = p + r >= k || width <= 0 ? Vector{} : width >= kLanes ? load(from) : load_partial(from, width);
      }
      transpose(block);
      for (int64_t r = 0; r < kLanes && t + r < (tokens + 3) / 4 * 4; ++r) {
        store(out.data + (t + r) * out.stride + p, block[r]);
      }
    }
  }
}

// Y [rows, tokens] (+)= W [rows, k] X [k, tokens], x being transposed
void few_tokens(ConstMatrix w, ConstMatrix x, int64_t k, int64_t tokens, Matrix y, Range rows, bool add) {
  // One token also takes the tile of two: 16 rows at a time would be 16 streams to prefetch, which was slower.
  if (tokens <= 2) return product<2>(w, x, k, tokens, y, rows, add);
  return product<4>(w, x, k, tokens, y, rows, add);
}

void few_tokens_bf16(ConstHalfMatrix w, ConstMatrix x, int64_t k, int64_t tokens, Matrix y, Range rows, bool add) {
  if (tokens <= 2) return product<2>(w, x, k, tokens, y, rows, add);
  return product<4>(w, x, k, tokens, y, rows, add);
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
