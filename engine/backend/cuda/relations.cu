// The relations between the tokens of a sequence in one head, S [keys, queries] = scale BᵀA, of a student and of its
// teacher, compared. As in attention (attention_tiles.cuh) scores never leave the chip. A block adds only to the
// gradient of its own tokens: those of queries and those of keys are two passes, the second with a and b exchanged, so
// that no two blocks add to one element and equal inputs give equal bits.
#include <utility>

#include "backend/cuda/attention_tiles.cuh"

namespace bertx::cuda {
namespace {

constexpr int kParts = kAttentionThreads / kTile;  // threads that share a query in the softmax
constexpr int kKeysOfPart = kTile / kParts;

/// A student or a teacher as a pass looks at it: the block's own tokens beside the others.
struct Side {
  ConstMatrix own, other;  // [heads * head_dim, tokens]
  std::int64_t head_dim;
  float scale;
  const float* log_sum;  // [heads, tokens] of the queries' scores; only of distributions
};
struct Pass {
  Side student, teacher;
  std::int64_t tokens, sequences;
  const std::int32_t* starts;
  bool distributions;
  bool own_are_queries;  // else keys
};

struct Tiles {
  float *own, *other, *mixed, *p;  // [kTile, kPitch] each; p [others, own]
};
constexpr std::size_t kSumsFloats = 3 * kTileFloats, kFloats = 4 * kTileFloats;

/// A thread's part of a tile of scores: 4 others from y, 4 own from x.
struct Part {
  int x, y;
  Bounds sequence[kPart] = {};  // of the own tokens, which lie side by side
  __device__ Part(const Pass& pass, std::int64_t own0)
      : x(static_cast<int>(threadIdx.x) % (kTile / kPart) * kPart),
        y(static_cast<int>(threadIdx.x) / (kTile / kPart) * kPart) {
    for (int j = 0; j < kPart; ++j) {
      if (own0 + x + j < pass.tokens) sequence[j] = bounds_of(pass.starts, pass.sequences, own0 + x + j);
    }
  }
  __device__ bool related(std::int64_t other, int j) const {
    return other >= sequence[j].first && other < sequence[j].last;
  }
};

/// score [others, own] = scale · the products of the tokens of a part; uses the tiles own and other.
__device__ void relation_scores(const Tiles& t, const Side& side, const Part& part, std::int64_t head,
                                std::int64_t own0, std::int64_t own_end, std::int64_t other0, std::int64_t other_end,
                                float (&score)[kPart][kPart]) {
  const std::int64_t row0 = head * side.head_dim, row_end = row0 + side.head_dim;
  for (int i = 0; i < kPart; ++i) {
    for (int j = 0; j < kPart; ++j) score[i][j] = 0;
  }
  for (std::int64_t chunk = 0; chunk * kTile < side.head_dim; ++chunk) {
    __syncthreads();
    load_tile(t.own, side.own, row0 + chunk * kTile, row_end, own0, own_end);
    load_tile(t.other, side.other, row0 + chunk * kTile, row_end, other0, other_end);
    __syncthreads();
    add_scores(t.other, part.y, t.own, part.x, features_of_chunk(side.head_dim, chunk), score);
  }
  for (int i = 0; i < kPart; ++i) {
    for (int j = 0; j < kPart; ++j) score[i][j] *= side.scale;
  }
}

// log_sum [heads, tokens] = log Σ exp of each query's scores. Grid: tiles of queries, heads.
__global__ void __launch_bounds__(kAttentionThreads) relation_sums_kernel(Pass pass, Side side, float* log_sum) {
  __shared__ float largest_of[kParts][kTile], sum_of[kParts][kTile];
  float* const shared = shared_floats();
  const Tiles t{shared, shared + kTileFloats, nullptr, shared + 2 * kTileFloats};
  const std::int64_t query0 = static_cast<std::int64_t>(blockIdx.x) * kTile, head = blockIdx.y;
  const Bounds reach = reach_of(pass.starts, pass.sequences, pass.tokens, query0);
  const Part part(pass, query0);
  const int query = static_cast<int>(threadIdx.x) % kTile, share = static_cast<int>(threadIdx.x) / kTile;
  float largest = -INFINITY, sum = 0;  // of this thread's share of the keys of its query
  for (std::int64_t key0 = reach.first; key0 < reach.last; key0 += kTile) {
    float score[kPart][kPart];
    relation_scores(t, side, part, head, query0, pass.tokens, key0, reach.last, score);
    for (int i = 0; i < kPart; ++i) {
      for (int j = 0; j < kPart; ++j) {
        t.p[(part.y + i) * kPitch + part.x + j] = part.related(key0 + part.y + i, j) ? score[i][j] : -INFINITY;
      }
    }
    __syncthreads();
    for (int k = share * kKeysOfPart; k < (share + 1) * kKeysOfPart; ++k) {
      const float value = t.p[k * kPitch + query];
      if (value > largest) {
        sum = sum * expf(largest - value) + 1;
        largest = value;
      } else if (value > -INFINITY) {
        sum += expf(value - largest);
      }
    }
  }
  largest_of[share][query] = largest, sum_of[share][query] = sum;
  __syncthreads();
  if (share != 0 || query0 + query >= pass.tokens) return;
  for (int i = 1; i < kParts; ++i) largest = fmaxf(largest, largest_of[i][query]);
  float all = 0;
  for (int i = 0; i < kParts; ++i) {
    if (sum_of[i][query] > 0) all += sum_of[i][query] * expf(largest_of[i][query] - largest);
  }
  log_sum[head * pass.tokens + query0 + query] = largest + logf(all);
}

// d_own [heads * head_dim, tokens] += factor / *count · the gradient; losses [heads, tiles] where they are wanted.
// Grid: tiles of own tokens, heads, chunks of features.
__global__ void __launch_bounds__(kAttentionThreads)
    relation_kernel(Pass pass, double factor, const double* count, Matrix d_own, double* losses) {
  __shared__ double shared_sums[32];
  float* const shared = shared_floats();
  const Tiles t{shared, shared + kTileFloats, shared + 2 * kTileFloats, shared + 3 * kTileFloats};
  const Side &student = pass.student, &teacher = pass.teacher;
  const std::int64_t own0 = static_cast<std::int64_t>(blockIdx.x) * kTile, head = blockIdx.y;
  const std::int64_t row0 = head * student.head_dim + static_cast<std::int64_t>(blockIdx.z) * kTile;
  const std::int64_t row_end = (head + 1) * student.head_dim;
  const Bounds reach = reach_of(pass.starts, pass.sequences, pass.tokens, own0);
  const Part part(pass, own0);
  const float weight = static_cast<float>(factor / *count) * student.scale;
  const float *const found_sum = student.log_sum + head * pass.tokens, *const wanted_sum =
                                                                           teacher.log_sum + head * pass.tokens;
  double loss = 0;
  float out[kPart][kPart] = {};  // [features from y, own tokens from x]
  for (std::int64_t other0 = reach.first; other0 < reach.last; other0 += kTile) {
    float found[kPart][kPart], wanted[kPart][kPart];
    relation_scores(t, teacher, part, head, own0, pass.tokens, other0, reach.last, wanted);
    relation_scores(t, student, part, head, own0, pass.tokens, other0, reach.last, found);
    if (d_own.data != nullptr) load_tile(t.mixed, student.other, row0, row_end, other0, reach.last);
    for (int i = 0; i < kPart; ++i) {
      const std::int64_t other = other0 + part.y + i;
      for (int j = 0; j < kPart; ++j) {
        float gradient = 0;
        if (part.related(other, j) && !pass.distributions) {
          const float difference = found[i][j] - wanted[i][j];
          loss += static_cast<double>(difference * difference);
          gradient = 2 * difference;
        } else if (part.related(other, j)) {
          const std::int64_t query = pass.own_are_queries ? own0 + part.x + j : other;
          const float log_found = found[i][j] - found_sum[query], log_wanted = wanted[i][j] - wanted_sum[query];
          const float probability = expf(log_wanted);
          loss += static_cast<double>(probability * (log_wanted - log_found));
          gradient = expf(log_found) - probability;
        }
        t.p[(part.y + i) * kPitch + part.x + j] = weight * gradient;
      }
    }
    __syncthreads();
    if (d_own.data == nullptr) continue;
    const std::int64_t others = reach.last - other0;
    add_mixed(t.mixed, part.y, t.p, part.x, static_cast<int>(others < kTile ? others : kTile), out);
  }
  if (d_own.data != nullptr) {
    for (int i = 0; i < kPart; ++i) {
      for (int j = 0; j < kPart; ++j) {
        const std::int64_t row = row0 + part.y + i, token = own0 + part.x + j;
        if (row < row_end && token < pass.tokens) d_own.data[row * d_own.stride + token] += out[i][j];
      }
    }
  }
  if (losses == nullptr || blockIdx.z != 0) return;
  const double sum = block_sum(loss, shared_sums);
  if (threadIdx.x == 0) losses[head * gridDim.x + blockIdx.x] = sum;
}

// *count = heads · Σ over the sequences of their tokens, or of the squares of those
__global__ void relation_count_kernel(const std::int32_t* starts, std::int64_t sequences, std::int64_t heads,
                                      bool distributions, double* count) {
  __shared__ double shared[32];
  double mine = 0;
  for (std::int64_t b = threadIdx.x; b < sequences; b += blockDim.x) {
    const double length = starts[b + 1] - starts[b];
    mine += distributions ? length : length * length;
  }
  const double all = block_sum(mine, shared);
  if (threadIdx.x == 0) *count = static_cast<double>(heads) * all;
}

}  // namespace

std::int64_t relation_tiles(std::int64_t tokens) { return ceil_div(tokens, kTile); }

void relation_distance(Stream stream, const Relations& r, double scale, Matrix da, Matrix db, float* log_sums,
                       double* losses, double* sum_and_count) {
  const auto tiles = static_cast<unsigned>(relation_tiles(r.tokens)), heads = static_cast<unsigned>(r.heads);
  double* const count = sum_and_count + 1;
  launch(relation_count_kernel, dim3(1), dim3(kThreads), 0, stream, r.starts, r.sequences, r.heads, r.distributions,
         count);
  float *const found_sums = log_sums, *const wanted_sums = log_sums + r.heads * r.tokens;
  const auto side_of = [](const RelationSide& side, const float* sums) {
    return Side{side.a, side.b, side.head_dim, 1 / sqrtf(static_cast<float>(side.head_dim)), sums};
  };
  Pass pass{side_of(r.student, found_sums),
            side_of(r.teacher, wanted_sums),
            r.tokens,
            r.sequences,
            r.starts,
            r.distributions,
            true};
  if (r.distributions) {
    allow_shared(relation_sums_kernel, kSumsFloats * sizeof(float));
    const auto sums_of = [&](const Side& side, float* sums) {
      launch(relation_sums_kernel, dim3(tiles, heads), dim3(kAttentionThreads), kSumsFloats * sizeof(float), stream,
             pass, side, sums);
    };
    sums_of(pass.student, found_sums);
    sums_of(pass.teacher, wanted_sums);
  }
  allow_shared(relation_kernel, kFloats * sizeof(float));
  const auto chunks = static_cast<unsigned>(da.data == nullptr ? 1 : ceil_div(r.student.head_dim, kTile));
  const dim3 grid(tiles, heads, chunks), block(kAttentionThreads);
  launch(relation_kernel, grid, block, kFloats * sizeof(float), stream, pass, scale, count, da, losses);
  sum_up(stream, losses, r.heads * tiles, sum_and_count);
  if (da.data == nullptr) return;
  pass.own_are_queries = false;
  std::swap(pass.student.own, pass.student.other);
  std::swap(pass.teacher.own, pass.teacher.other);
  launch(relation_kernel, grid, block, kFloats * sizeof(float), stream, pass, scale, count, db, nullptr);
}

}  // namespace bertx::cuda
