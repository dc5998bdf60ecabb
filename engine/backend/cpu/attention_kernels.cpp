// Attention of one block of queries: a query is a lane. The scores of the block against all keys stay in scratch,
// [keys, width], which is 32 KB for 128 keys and 512 KB for 2048: within L2. That is fast enough to make a softmax over
// blocks of keys (which rescales what it has summed) pointless: exp included, one core reaches 79, 94, 92, 92, 96 and
// 98 GFLOP/s at 32, 128, 384, 512, 1024 and 2048 tokens, heads of 64, of a peak of 112; its gradient 80 to 91.
#include "backend/cpu/dropout_lanes.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/small_product.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {

extern const int64_t query_block = kMostWidth;

// Packed queries, scores, one over each query's sum.
int64_t attention_scratch(int64_t head_dim, int64_t keys) { return (head_dim + keys + 1) * kMostWidth; }

namespace {

/// scores [keys, width] -> exp(score - largest of its query), dropped ones 0; their sums before dropout go out by
/// one_over_sum [width] and log_sum_exp.
void softmax(const AttentionBlock& block, int64_t width, float* scores, float* one_over_sum) {
  for (int64_t first = 0; first < width; first += kLanes) {
    Vector largest = load(scores + first);
    for (int64_t j = 1; j < block.keys; ++j) largest = max(largest, load(scores + j * width + first));
    Vector sum{};
    for (int64_t j = 0; j < block.keys; ++j) {
      float* const at = scores + j * width + first;
      const Vector e = exp(load(at) - largest);
      sum += e;
      store(at, block.dropout.threshold == 0
                    ? e
                    : DropoutRow(block.dropout, block.mask_row + j).apply(e, block.mask_column + first));
    }
    store(one_over_sum + first, 1.0f / sum);
    if (block.log_sum_exp == nullptr) continue;
    for (int64_t lane = 0; lane < kLanes && first + lane < block.queries; ++lane) {
      block.log_sum_exp[first + lane] = largest[lane] + __builtin_logf(sum[lane]);
    }
  }
}

}  // namespace

// q [D, queries], k and v [D, keys] -> context [D, queries] = V softmax(scale KᵀQ)
void attention(const AttentionBlock& block, float* scratch) {
  const int64_t width = round_to_lanes(block.queries);
  float* const packed = scratch;
  float* const scores = packed + block.head_dim * width;
  float* const one_over_sum = scores + block.keys * width;
  pack(block.q.data, block.q.stride, block.head_dim, block.queries, block.scale, packed, width);
  product({block.k.data, 1, block.k.stride}, block.keys, packed, width, block.head_dim,
          {scores, width, width, nullptr, false});
  softmax(block, width, scores, one_over_sum);
  product({block.v.data, block.v.stride, 1}, block.head_dim, scores, width, block.keys,
          {block.context.data, block.context.stride, block.queries, one_over_sum, false});
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
