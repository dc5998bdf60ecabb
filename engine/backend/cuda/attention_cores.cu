// Attention by tensor cores, for heads of up to kTile features: products take bf16 or TF32 numbers and sum in f32, the
// softmax is f32, scores stay in registers (FlashAttention-2: Dao 2023, 2307.08691).
#include "backend/cuda/attention_fragments.cuh"

namespace bertx::cuda {
namespace {

// Grid: tiles of queries, heads.
template <class Kind, class Source, class Context>
__global__ void __launch_bounds__(kMmaThreads)
    forward_kernel(Attention a, Source queries, Source keys, Source values, Context context, Matrix log_sum_exp) {
  __shared__ __align__(16) typename Kind::Number tiles[2 * kTile * Kind::kPitch];
  auto *const k = tiles, *const v = tiles + kTile * Kind::kPitch;
  const Place p = place_of<Kind>(a);
  typename Kind::Left q = {};
  Kind::load(k, queries, p.row, p.row_end, p.begin, a.tokens);
  sparse::cuda::commit_copies();
  sparse::cuda::wait_copies<0>();
  __syncthreads();
  Kind::take_left(k, p.steps, q);
  const Bounds sequence[2] = {sequence_of(a, own_token(p, 0)), sequence_of(a, own_token(p, 2))};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};  // of rows row_of(0) and row_of(2)
  Result out = {};
  for (std::int64_t key0 = load_begin<Source>(p.reach.first); key0 < p.reach.last; key0 += kTile) {
    __syncthreads();
    Kind::load(k, keys, p.row, p.row_end, key0, p.reach.last);
    sparse::cuda::commit_copies();
    Kind::load(v, values, p.row, p.row_end, key0, p.reach.last);
    sparse::cuda::commit_copies();
    sparse::cuda::wait_copies<1>();
    __syncthreads();  // all keys are here; values may still be on their way
    Result score = {};
    Kind::add_over_features(q, k, p.steps, score);
    float highest[2] = {largest[0], largest[1]};
    for (int block = 0; block < kBlocks; ++block) {
      for (int e = 0; e < 4; ++e) {
        const std::int64_t key = key0 + block * 8 + column_of(e);
        const bool related = key >= sequence[e / 2].first && key < sequence[e / 2].last;
        score[block][e] = related ? score[block][e] * p.scale : -INFINITY;
        highest[e / 2] = fmaxf(highest[e / 2], score[block][e]);
      }
    }
    for (int r = 0; r < 2; ++r) {
      highest[r] = quad_max(highest[r]);
      const float shrink = largest[r] > -INFINITY ? __expf(largest[r] - highest[r]) : 0.0f;
      largest[r] = highest[r];
      sum[r] *= shrink;
      for (int block = 0; block < kBlocks; ++block) {
        out[block][2 * r] *= shrink;
        out[block][2 * r + 1] *= shrink;
      }
    }
    for (int block = 0; block < kBlocks; ++block) {
      for (int e = 0; e < 4; ++e) {
        const std::int64_t key = key0 + block * 8 + column_of(e);
        const float weight = score[block][e] > -INFINITY ? __expf(score[block][e] - largest[e / 2]) : 0.0f;
        sum[e / 2] += weight;
        score[block][e] =
            weight > 0 ? weight * dropout_factor(a.dropout, p.head * a.tokens + key, own_token(p, e)) : 0.0f;
      }
    }
    sparse::cuda::wait_copies<0>();
    __syncthreads();
    Kind::add_over_tokens(score, v, p.feature_blocks, out);
  }
  for (int r = 0; r < 2; ++r) {
    sum[r] = quad_sum(sum[r]);
    for (int block = 0; block < kBlocks; ++block) {
      out[block][2 * r] /= sum[r];
      out[block][2 * r + 1] /= sum[r];
    }
    const std::int64_t query = own_token(p, 2 * r);
    if (log_sum_exp.data != nullptr && lane_of() % 4 == 0 && query < a.tokens) {
      log_sum_exp.data[p.head * log_sum_exp.stride + query] = largest[r] + logf(sum[r]);
    }
  }
  static_assert(kTile * kOutPitch * sizeof(float) <= sizeof(tiles));
  store_turned(reinterpret_cast<float*>(tiles), out, context, p.row, p.row_end, p.begin, a.tokens);
}

/// Turns a score and VᵀdO into P̃ and scale * dS (attention_grad.cu has the formulas).
__device__ inline void pair_of(const Attention& a, const Place& p, std::int64_t key, std::int64_t query,
                               Bounds sequence, float log_sum_exp, float delta, float& score, float& dprobability) {
  if (key < sequence.first || key >= sequence.last) {
    score = dprobability = 0.0f;
    return;
  }
  const float probability = __expf(score * p.scale - log_sum_exp);
  const float factor = dropout_factor(a.dropout, p.head * a.tokens + key, query);
  score = probability * factor;
  dprobability = probability * (factor * dprobability - delta) * p.scale;
}

// Grid: tiles of queries, heads.
template <class Kind>
__global__ void __launch_bounds__(kMmaThreads) query_grad_kernel(Attention a, AttentionGrad g) {
  __shared__ __align__(16) typename Kind::Number tiles[2 * kTile * Kind::kPitch];
  auto *const k = tiles, *const v = tiles + kTile * Kind::kPitch;
  const Place p = place_of<Kind>(a);
  typename Kind::Left q = {}, dout = {};
  Kind::load(k, a.q, p.row, p.row_end, p.begin, a.tokens);
  Kind::load(v, g.dcontext, p.row, p.row_end, p.begin, a.tokens);
  __syncthreads();
  Kind::take_left(k, p.steps, q);
  Kind::take_left(v, p.steps, dout);
  Bounds sequence[2];
  float log_sum_exp[2], delta[2];
  for (int r = 0; r < 2; ++r) {
    const std::int64_t query = own_token(p, 2 * r);
    const bool inside = query < a.tokens;
    sequence[r] = sequence_of(a, query);
    log_sum_exp[r] = inside ? g.log_sum_exp.data[p.head * g.log_sum_exp.stride + query] : 0.0f;
    delta[r] = inside ? g.delta[p.head * a.tokens + query] : 0.0f;
  }
  Result dq = {};
  for (std::int64_t key0 = p.reach.first; key0 < p.reach.last; key0 += kTile) {
    __syncthreads();
    Kind::load(k, a.k, p.row, p.row_end, key0, p.reach.last);
    Kind::load(v, a.v, p.row, p.row_end, key0, p.reach.last);
    __syncthreads();
    Result score = {}, dprobability = {};
    Kind::add_over_features(q, k, p.steps, score);
    Kind::add_over_features(dout, v, p.steps, dprobability);
    for (int block = 0; block < kBlocks; ++block) {
      for (int e = 0; e < 4; ++e) {
        pair_of(a, p, key0 + block * 8 + column_of(e), own_token(p, e), sequence[e / 2], log_sum_exp[e / 2],
                delta[e / 2], score[block][e], dprobability[block][e]);
      }
    }
    Kind::add_over_tokens(dprobability, k, p.feature_blocks, dq);
  }
  store_turned(reinterpret_cast<float*>(tiles), dq, g.dq, p.row, p.row_end, p.begin, a.tokens);
}

// Grid: tiles of keys, heads.
template <class Kind>
__global__ void __launch_bounds__(kMmaThreads) key_grad_kernel(Attention a, AttentionGrad g) {
  __shared__ __align__(16) typename Kind::Number tiles[2 * kTile * Kind::kPitch];
  __shared__ Bounds sequence[kTile];  // and the two below: of the queries of a tile
  __shared__ float log_sum_exp[kTile], delta[kTile];
  auto *const q = tiles, *const dout = tiles + kTile * Kind::kPitch;
  const Place p = place_of<Kind>(a);
  typename Kind::Left k = {}, v = {};
  Kind::load(q, a.k, p.row, p.row_end, p.begin, a.tokens);
  Kind::load(dout, a.v, p.row, p.row_end, p.begin, a.tokens);
  __syncthreads();
  Kind::take_left(q, p.steps, k);
  Kind::take_left(dout, p.steps, v);
  Result dk = {}, dv = {};
  for (std::int64_t query0 = p.reach.first; query0 < p.reach.last; query0 += kTile) {
    __syncthreads();
    Kind::load(q, a.q, p.row, p.row_end, query0, p.reach.last);
    Kind::load(dout, g.dcontext, p.row, p.row_end, query0, p.reach.last);
    if (threadIdx.x < kTile) {
      const std::int64_t query = query0 + threadIdx.x;
      const bool inside = query < p.reach.last;
      sequence[threadIdx.x] = inside ? sequence_of(a, query) : Bounds{0, 0};
      log_sum_exp[threadIdx.x] = inside ? g.log_sum_exp.data[p.head * g.log_sum_exp.stride + query] : 0.0f;
      delta[threadIdx.x] = inside ? g.delta[p.head * a.tokens + query] : 0.0f;
    }
    __syncthreads();
    Result score = {}, dprobability = {};  // [keys, queries]
    Kind::add_over_features(k, q, p.steps, score);
    Kind::add_over_features(v, dout, p.steps, dprobability);
    for (int block = 0; block < kBlocks; ++block) {
      for (int e = 0; e < 4; ++e) {
        const int j = block * 8 + column_of(e);
        pair_of(a, p, own_token(p, e), query0 + j, sequence[j], log_sum_exp[j], delta[j], score[block][e],
                dprobability[block][e]);
      }
    }
    Kind::add_over_tokens(score, dout, p.feature_blocks, dv);
    Kind::add_over_tokens(dprobability, q, p.feature_blocks, dk);
  }
  store_turned(reinterpret_cast<float*>(tiles), dk, g.dk, p.row, p.row_end, p.begin, a.tokens);
  store_turned(reinterpret_cast<float*>(tiles), dv, g.dv, p.row, p.row_end, p.begin, a.tokens);
}

dim3 grid_of(const Attention& a) {
  return dim3(static_cast<unsigned>(ceil_div(a.tokens, kTile)), static_cast<unsigned>(a.heads));
}

}  // namespace

static_assert(kMostCoresHeadDim == kTile);

void attention_by_cores(Stream stream, Cores cores, const Attention& a, Matrix context, Matrix log_sum_exp) {
  if (a.heads <= 0 || a.head_dim <= 0 || a.tokens <= 0) return;
  launch(cores == Cores::bf16 ? forward_kernel<Bf16Cores, ConstMatrix, Matrix>
                              : forward_kernel<Tf32Cores, ConstMatrix, Matrix>,
         grid_of(a), dim3(kMmaThreads), 0, stream, a, a.q, a.k, a.v, context, log_sum_exp);
}

void attention_of_bf16(Stream stream, const Attention& a, Bf16Matrix q, Bf16Matrix k, Bf16Matrix v, Bf16Matrix context,
                       Matrix log_sum_exp) {
  if (a.heads <= 0 || a.head_dim <= 0 || a.tokens <= 0) return;
  const auto aligned = [](Bf16Matrix x) { return sparse::cuda::in_vectors(x.data, x.stride, sizeof(*x.data)); };
  if (aligned(q) && aligned(k) && aligned(v) && aligned(context)) {
    const auto vectors = [](Bf16Matrix x) { return Bf16Vectors{x.data, x.stride}; };
    launch(forward_kernel<Bf16Cores, Bf16Vectors, Bf16Vectors>, grid_of(a), dim3(kMmaThreads), 0, stream, a, vectors(q),
           vectors(k), vectors(v), vectors(context), log_sum_exp);
  } else {
    launch(forward_kernel<Bf16Cores, Bf16Matrix, Bf16Matrix>, grid_of(a), dim3(kMmaThreads), 0, stream, a, q, k, v,
           context, log_sum_exp);
  }
}

void attention_grad_by_cores(Stream stream, Cores cores, const Attention& a, const AttentionGrad& g) {
  if (a.heads <= 0 || a.head_dim <= 0 || a.tokens <= 0) return;
  launch(cores == Cores::bf16 ? query_grad_kernel<Bf16Cores> : query_grad_kernel<Tf32Cores>, grid_of(a),
         dim3(kMmaThreads), 0, stream, a, g);
  launch(cores == Cores::bf16 ? key_grad_kernel<Bf16Cores> : key_grad_kernel<Tf32Cores>, grid_of(a), dim3(kMmaThreads),
         0, stream, a, g);
}

}  // namespace bertx::cuda
