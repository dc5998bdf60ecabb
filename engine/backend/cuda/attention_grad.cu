// Gradients of attention in f32. With S = scale KᵀQ, P = softmax(S) over the keys, P̃ = P * mask, O = V P̃:
//   dP = mask * VᵀdO;  dS = P * (dP - Σ_key P dP);  dQ = scale K dS;  dK = scale Q dSᵀ;  dV = dO P̃ᵀ
// and Σ_key P dP = Σ_features O dO. Scores are computed again from the log of their sums, once for dQ by blocks of
// queries and once for dK and dV by blocks of keys: no two blocks add to one place, so the bits do not depend on their
// order.
#include "backend/cuda/attention_tiles.cuh"

namespace bertx::cuda {
namespace {

// delta [heads, tokens] = Σ over the features of a head of context * dcontext; 32 tokens x 8 threads over the features
__global__ void delta_kernel(Attention a, ConstMatrix context, ConstMatrix dcontext, float* delta) {
  __shared__ float shared[8][kWarp];
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x, head = blockIdx.y;
  float sum = 0;
  for (std::int64_t d = threadIdx.y; t < a.tokens && d < a.head_dim; d += 8) {
    const std::int64_t row = head * a.head_dim + d;
    sum += context.data[row * context.stride + t] * dcontext.data[row * dcontext.stride + t];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || t >= a.tokens) return;
  for (int i = 1; i < 8; ++i) sum += shared[i][threadIdx.x];
  delta[head * a.tokens + t] = sum;
}

struct Pair {
  float dropped, dscore;  // P̃ and scale * dS
};
/// What follows of a score and of VᵀdO, for a query whose sequence is `sequence`.
__device__ Pair pair_of(const Attention& a, const AttentionGrad& g, std::int64_t head, std::int64_t key,
                        std::int64_t query, Bounds sequence, float score, float dprobability, float scale) {
  if (key < sequence.first || key >= sequence.last) return {0.0f, 0.0f};
  const float probability = expf(score * scale - g.log_sum_exp.data[head * g.log_sum_exp.stride + query]);
  const float factor = dropout_factor(a.dropout, head * a.tokens + key, query);
  return {probability * factor, probability * (factor * dprobability - g.delta[head * a.tokens + query]) * scale};
}

constexpr std::size_t kGradFloats = 5 * kTileFloats;

// Grid: tiles of queries, heads, chunks of features.
__global__ void __launch_bounds__(kAttentionThreads) query_grad_kernel(Attention a, AttentionGrad g) {
  float* const q = shared_floats();
  float *const dout = q + kTileFloats, *const k = dout + kTileFloats, *const v = k + kTileFloats,
               *const dscores = v + kTileFloats;  // [keys, queries]
  const int thread = static_cast<int>(threadIdx.x);
  const int x = thread % (kTile / kPart) * kPart, y = thread / (kTile / kPart) * kPart;
  const std::int64_t query0 = static_cast<std::int64_t>(blockIdx.x) * kTile, head = blockIdx.y, own = blockIdx.z;
  const std::int64_t row0 = head * a.head_dim, row_end = row0 + a.head_dim, chunks = gridDim.z;
  const Bounds reach = reach_of(a, query0);
  const float scale = 1 / sqrtf(static_cast<float>(a.head_dim));
  Bounds sequence[kPart] = {};
  for (int j = 0; j < kPart; ++j) {
    if (query0 + x + j < a.tokens) sequence[j] = bounds_of(a.starts, a.sequences, query0 + x + j);
  }
  float dq[kPart][kPart] = {};  // [features from y, queries from x]
  for (std::int64_t key0 = reach.first; key0 < reach.last; key0 += kTile) {
    float score[kPart][kPart] = {}, dprobability[kPart][kPart] = {};  // [keys from y, queries from x]
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t row = row0 + chunk * kTile;
      __syncthreads();
      if (chunks > 1 || key0 == reach.first) {
        load_tile(q, a.q, row, row_end, query0, a.tokens);
        load_tile(dout, g.dcontext, row, row_end, query0, a.tokens);
      }
      load_tile(k, a.k, row, row_end, key0, reach.last);
      load_tile(v, a.v, row, row_end, key0, reach.last);
      __syncthreads();
      const int features = features_of_chunk(a.head_dim, chunk);
      add_scores(k, y, q, x, features, score);
      add_scores(v, y, dout, x, features, dprobability);
    }
    for (int i = 0; i < kPart; ++i) {
      for (int j = 0; j < kPart; ++j) {
        dscores[(y + i) * kPitch + x + j] =
            pair_of(a, g, head, key0 + y + i, query0 + x + j, sequence[j], score[i][j], dprobability[i][j], scale)
                .dscore;
      }
    }
    __syncthreads();
    if (chunks > 1) {
      load_tile(k, a.k, row0 + own * kTile, row_end, key0, reach.last);
      __syncthreads();
    }
    const std::int64_t keys = reach.last - key0;
    add_mixed(k, y, dscores, x, static_cast<int>(keys < kTile ? keys : kTile), dq);
  }
  store_part(g.dq, row0 + own * kTile + y, row_end, query0 + x, a.tokens, dq);
}

// Grid: tiles of keys, heads, chunks of features. Weights lie as [queries, keys], so that both products with them read
// rows: first P̃, then dS, in one place.
__global__ void __launch_bounds__(kAttentionThreads) key_grad_kernel(Attention a, AttentionGrad g) {
  float* const k = shared_floats();
  float *const v = k + kTileFloats, *const q = v + kTileFloats, *const dout = q + kTileFloats,
               *const weights = dout + kTileFloats;
  const int thread = static_cast<int>(threadIdx.x);
  const int x = thread % (kTile / kPart) * kPart, y = thread / (kTile / kPart) * kPart;
  const std::int64_t key0 = static_cast<std::int64_t>(blockIdx.x) * kTile, head = blockIdx.y, own = blockIdx.z;
  const std::int64_t row0 = head * a.head_dim, row_end = row0 + a.head_dim, chunks = gridDim.z;
  const Bounds reach = reach_of(a, key0);
  const float scale = 1 / sqrtf(static_cast<float>(a.head_dim));
  float dk[kPart][kPart] = {}, dv[kPart][kPart] = {};  // [features from y, keys from x]
  for (std::int64_t query0 = reach.first; query0 < reach.last; query0 += kTile) {
    float score[kPart][kPart] = {}, dprobability[kPart][kPart] = {};  // [queries from y, keys from x]
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t row = row0 + chunk * kTile;
      __syncthreads();
      if (chunks > 1 || query0 == reach.first) {
        load_tile(k, a.k, row, row_end, key0, a.tokens);
        load_tile(v, a.v, row, row_end, key0, a.tokens);
      }
      load_tile(q, a.q, row, row_end, query0, reach.last);
      load_tile(dout, g.dcontext, row, row_end, query0, reach.last);
      __syncthreads();
      const int features = features_of_chunk(a.head_dim, chunk);
      add_scores(q, y, k, x, features, score);
      add_scores(dout, y, v, x, features, dprobability);
    }
    Pair pair[kPart][kPart] = {};
    for (int i = 0; i < kPart; ++i) {
      const std::int64_t query = query0 + y + i;
      if (query >= reach.last) continue;
      const Bounds sequence = bounds_of(a.starts, a.sequences, query);
      for (int j = 0; j < kPart; ++j) {
        pair[i][j] = pair_of(a, g, head, key0 + x + j, query, sequence, score[i][j], dprobability[i][j], scale);
      }
    }
    const auto put = [&](float Pair::*which) {
      for (int i = 0; i < kPart; ++i) {
        for (int j = 0; j < kPart; ++j) weights[(y + i) * kPitch + x + j] = pair[i][j].*which;
      }
    };
    const std::int64_t left = reach.last - query0;
    const int queries = static_cast<int>(left < kTile ? left : kTile);
    put(&Pair::dropped);
    __syncthreads();
    if (chunks > 1) {
      load_tile(q, a.q, row0 + own * kTile, row_end, query0, reach.last);
      load_tile(dout, g.dcontext, row0 + own * kTile, row_end, query0, reach.last);
      __syncthreads();
    }
    add_mixed(dout, y, weights, x, queries, dv);
    __syncthreads();
    put(&Pair::dscore);
    __syncthreads();
    add_mixed(q, y, weights, x, queries, dk);
  }
  store_part(g.dk, row0 + own * kTile + y, row_end, key0 + x, a.tokens, dk);
  store_part(g.dv, row0 + own * kTile + y, row_end, key0 + x, a.tokens, dv);
}

}  // namespace

void attention_delta(Stream stream, const Attention& a, ConstMatrix context, ConstMatrix dcontext, float* delta) {
  if (a.heads <= 0 || a.tokens <= 0) return;
  launch(delta_kernel, dim3(static_cast<unsigned>(ceil_div(a.tokens, kWarp)), static_cast<unsigned>(a.heads)),
         dim3(kWarp, 8), 0, stream, a, context, dcontext, delta);
}

void attention_grad(Stream stream, const Attention& a, const AttentionGrad& g) {
  if (a.heads <= 0 || a.head_dim <= 0 || a.tokens <= 0) return;
  constexpr std::size_t kBytes = kGradFloats * sizeof(float);
  allow_shared(query_grad_kernel, kBytes);
  allow_shared(key_grad_kernel, kBytes);
  launch(query_grad_kernel, attention_grid(a), dim3(kAttentionThreads), kBytes, stream, a, g);
  launch(key_grad_kernel, attention_grid(a), dim3(kAttentionThreads), kBytes, stream, a, g);
}

}  // namespace bertx::cuda
