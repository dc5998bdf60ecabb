// Self-attention within sequences, forward, in f32 (FlashAttention: Dao et al. 2022, 2205.14135): scores of a tile of
// queries with a tile of keys stay in registers and shared memory, and the softmax is put together tile by tile.
#include "backend/cuda/attention_tiles.cuh"

namespace bertx::cuda {
namespace {

constexpr int kParts = kAttentionThreads / kTile;  // threads that share a query in the softmax
constexpr int kKeysOfPart = kTile / kParts;

struct ForwardTiles {
  float *q, *k, *v, *p;  // [kTile, kPitch] each; p [keys, queries]
  float *largest, *sum;  // [kTile] of each query so far
  float* shrink;         // [kTile] what the sums so far are multiplied by
  float* partial;        // [kParts, kTile]
};
constexpr std::size_t kForwardFloats = 4 * kTileFloats + 3 * kTile + kParts * kTile;

__device__ ForwardTiles forward_tiles(float* shared) {
  ForwardTiles t;
  t.q = shared;
  t.k = t.q + kTileFloats;
  t.v = t.k + kTileFloats;
  t.p = t.v + kTileFloats;
  t.largest = t.p + kTileFloats;
  t.sum = t.largest + kTile;
  t.shrink = t.sum + kTile;
  t.partial = t.shrink + kTile;
  return t;
}

// p [keys, queries] holds scores, -inf where there is none; turns them into exp(score - largest) with dropout applied,
// and carries largest and sum on. A thread has one query and kKeysOfPart keys.
__device__ void softmax_step(const ForwardTiles& t, const Attention& a, std::int64_t head, std::int64_t query0,
                             std::int64_t key0) {
  const int query = static_cast<int>(threadIdx.x) % kTile, part = static_cast<int>(threadIdx.x) / kTile;
  float* const scores = t.p + part * kKeysOfPart * kPitch + query;
  float largest = -INFINITY;
  for (int k = 0; k < kKeysOfPart; ++k) largest = fmaxf(largest, scores[k * kPitch]);
  t.partial[part * kTile + query] = largest;
  __syncthreads();
  const float before = t.largest[query];
  largest = before;
  for (int i = 0; i < kParts; ++i) largest = fmaxf(largest, t.partial[i * kTile + query]);
  __syncthreads();  // before partial and largest change
  float sum = 0;
  for (int k = 0; k < kKeysOfPart; ++k) {
    float& score = scores[k * kPitch];
    const float weight = score > -INFINITY ? expf(score - largest) : 0.0f;
    sum += weight;
    const std::int64_t key = key0 + part * kKeysOfPart + k;
    score = weight > 0 ? weight * dropout_factor(a.dropout, head * a.tokens + key, query0 + query) : 0.0f;
  }
  t.partial[part * kTile + query] = sum;
  __syncthreads();
  if (part == 0) {
    const float shrink = before > -INFINITY ? expf(before - largest) : 0.0f;
    float all = t.sum[query] * shrink;
    for (int i = 0; i < kParts; ++i) all += t.partial[i * kTile + query];
    t.sum[query] = all, t.largest[query] = largest, t.shrink[query] = shrink;
  }
  __syncthreads();
}

// Grid: tiles of queries, heads, chunks of features.
__global__ void __launch_bounds__(kAttentionThreads) attention_kernel(Attention a, Matrix context, Matrix log_sum_exp) {
  const ForwardTiles t = forward_tiles(shared_floats());
  const int thread = static_cast<int>(threadIdx.x);
  const int x = thread % (kTile / kPart) * kPart, y = thread / (kTile / kPart) * kPart;  // of this thread's part
  const std::int64_t query0 = static_cast<std::int64_t>(blockIdx.x) * kTile, head = blockIdx.y, own = blockIdx.z;
  const std::int64_t row0 = head * a.head_dim, row_end = row0 + a.head_dim, chunks = gridDim.z;
  const Bounds reach = reach_of(a, query0);
  const float scale = 1 / sqrtf(static_cast<float>(a.head_dim));

  Bounds sequence[kPart] = {};  // of this thread's queries, which lie side by side: j
  for (int j = 0; j < kPart; ++j) {
    if (query0 + x + j < a.tokens) sequence[j] = bounds_of(a.starts, a.sequences, query0 + x + j);
  }
  if (thread < kTile) t.largest[thread] = -INFINITY, t.sum[thread] = 0;
  float out[kPart][kPart] = {};  // [features from y, queries from x]
  for (std::int64_t key0 = reach.first; key0 < reach.last; key0 += kTile) {
    float score[kPart][kPart] = {};  // [keys from y, queries from x]
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      __syncthreads();
      if (chunks > 1 || key0 == reach.first) {
        load_tile(t.q, a.q, row0 + chunk * kTile, row_end, query0, a.tokens);
      }
      load_tile(t.k, a.k, row0 + chunk * kTile, row_end, key0, reach.last);
      if (chunk == own) load_tile(t.v, a.v, row0 + chunk * kTile, row_end, key0, reach.last);
      __syncthreads();
      add_scores(t.k, y, t.q, x, features_of_chunk(a.head_dim, chunk), score);
    }
    for (int i = 0; i < kPart; ++i) {
      const std::int64_t key = key0 + y + i;
      for (int j = 0; j < kPart; ++j) {
        const bool related = key >= sequence[j].first && key < sequence[j].last;
        t.p[(y + i) * kPitch + x + j] = related ? score[i][j] * scale : -INFINITY;
      }
    }
    __syncthreads();
    softmax_step(t, a, head, query0, key0);
    for (int j = 0; j < kPart; ++j) {
      const float shrink = t.shrink[x + j];
      for (int i = 0; i < kPart; ++i) out[i][j] *= shrink;
    }
    const std::int64_t keys = reach.last - key0;
    add_mixed(t.v, y, t.p, x, static_cast<int>(keys < kTile ? keys : kTile), out);
  }
  for (int j = 0; j < kPart; ++j) {
    const float sum = t.sum[x + j];
    for (int i = 0; i < kPart; ++i) out[i][j] /= sum;
  }
  store_part(context, row0 + own * kTile + y, row_end, query0 + x, a.tokens, out);
  if (log_sum_exp.data != nullptr && own == 0 && thread < kTile && query0 + thread < a.tokens) {
    log_sum_exp.data[head * log_sum_exp.stride + query0 + thread] = t.largest[thread] + logf(t.sum[thread]);
  }
}

// out [groups, sequences]: a block each
__global__ void segment_dot_kernel(ConstMatrix a, ConstMatrix b, const std::int32_t* starts, Matrix out,
                                   std::int64_t rows) {
  __shared__ float shared[32];
  const std::int64_t sequence = blockIdx.x, group = blockIdx.y;
  const std::int64_t first = starts[sequence], length = starts[sequence + 1] - first;
  float mine = 0;
  for (std::int64_t i = threadIdx.x; i < rows * length; i += blockDim.x) {
    const std::int64_t row = group * rows + i / length, t = first + i % length;
    mine += a.data[row * a.stride + t] * b.data[row * b.stride + t];
  }
  const float sum = block_sum(mine, shared);
  if (threadIdx.x == 0) out.data[group * out.stride + sequence] = sum;
}

}  // namespace

void attention(Stream stream, const Attention& a, Matrix context, Matrix log_sum_exp) {
  if (a.heads <= 0 || a.head_dim <= 0 || a.tokens <= 0) return;
  allow_shared(attention_kernel, kForwardFloats * sizeof(float));
  launch(attention_kernel, attention_grid(a), dim3(kAttentionThreads), kForwardFloats * sizeof(float), stream, a,
         context, log_sum_exp);
}

void segment_dot(Stream stream, ConstMatrix a, ConstMatrix b, const std::int32_t* starts, Matrix out, Shape out_shape,
                 std::int64_t rows_of_group) {
  if (out_shape.rows <= 0 || out_shape.cols <= 0) return;
  launch(segment_dot_kernel, dim3(static_cast<unsigned>(out_shape.cols), static_cast<unsigned>(out_shape.rows)),
         dim3(kThreads), 0, stream, a, b, starts, out, rows_of_group);
}

}  // namespace bertx::cuda
