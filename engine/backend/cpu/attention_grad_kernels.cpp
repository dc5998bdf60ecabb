// The gradient of attention for one head of one sequence. With S = scale KᵀQ, P = softmax(S) over the keys,
// P̃ = dropout(P), O = V P̃:
//   dP = dropout(VᵀdO);  dS = P (dP - Σ_keys P dP), where the sum is Σ_features O dO
//   dQ = scale K dS;  dK = scale Q dSᵀ;  dV = dO P̃ᵀ
// Queries come in blocks, lanes are queries; for dK and dV, whose lanes are keys, the tiles are transposed.
#include "backend/cpu/dropout_lanes.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/small_product.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {

// Packed queries and dO, Σ O dO; P̃ and dS [keys, width]; both transposed [width, keys].
int64_t attention_grad_scratch(int64_t head_dim, int64_t keys) {
  return (2 * head_dim + 1 + 2 * round_to_lanes(keys) + 2 * round_to_lanes(keys)) * kMostWidth;
}

namespace {

/// delta [width] = Σ over the features of O dO, for the queries from `first`
void output_dots(const AttentionGradBlock& block, int64_t first, int64_t queries, float* delta) {
  for_vectors(queries, [&](auto access, int64_t t) {
    Vector sum{};
    for (int64_t d = 0; d < block.head_dim; ++d) {
      sum += access.load(block.context.data + d * block.context.stride + first + t) *
             access.load(block.dcontext.data + d * block.dcontext.stride + first + t);
    }
    store(delta + t, sum);
  });
}

/// scores and dP [tokens, width] become P̃ and dS; lanes past the queries become 0.
void score_grad(const AttentionGradBlock& block, int64_t first, int64_t queries, int64_t width, const float* delta,
                float* scores, float* dprobabilities) {
  for_vectors(queries, [&](auto access, int64_t t) {
    const Vector lse = access.load(block.log_sum_exp + first + t), dots = load(delta + t);
    // Past the queries the score is 0, from packed zeros, so exp() gives 1; these lanes must not reach dK and dV.
    const IntVector valid = lane_numbers() < (int32_t)(queries - t);
    for (int64_t j = 0; j < block.tokens; ++j) {
      float* const score = scores + j * width + t;
      float* const gradient = dprobabilities + j * width + t;
      const Vector p = valid ? exp(load(score) - lse) : Vector{};
      Vector kept = p, dp = load(gradient);
      if (block.dropout.threshold != 0) {
        const DropoutRow dropped(block.dropout, block.mask_row + j);
        kept = dropped.apply(p, block.mask_column + first + t);
        dp = dropped.apply(dp, block.mask_column + first + t);
      }
      store(score, kept);
      store(gradient, valid ? p * (dp - dots) * block.scale : Vector{});
    }
  });
}

}  // namespace

// all [D, tokens]
void attention_grad(const AttentionGradBlock& block, float* scratch) {
  const int64_t n = block.tokens, features = block.head_dim, padded = round_to_lanes(n);
  float* const packed_q = scratch;
  float* const packed_do = packed_q + features * kMostWidth;
  float* const delta = packed_do + features * kMostWidth;
  float* const probabilities = delta + kMostWidth;
  float* const dscores = probabilities + padded * kMostWidth;
  float* const probabilities_t = dscores + padded * kMostWidth;
  float* const dscores_t = probabilities_t + padded * kMostWidth;
  for (int64_t first = 0; first < n; first += kMostWidth) {
    const int64_t queries = n - first < kMostWidth ? n - first : kMostWidth, width = round_to_lanes(queries);
    pack(block.q.data + first, block.q.stride, features, queries, block.scale, packed_q, width);
    pack(block.dcontext.data + first, block.dcontext.stride, features, queries, 1.0f, packed_do, width);
    output_dots(block, first, queries, delta);
    product({block.k.data, 1, block.k.stride}, n, packed_q, width, features,
            {probabilities, width, width, nullptr, false});
    product({block.v.data, 1, block.v.stride}, n, packed_do, width, features, {dscores, width, width, nullptr, false});
    score_grad(block, first, queries, width, delta, probabilities, dscores);
    product({block.k.data, block.k.stride, 1}, features, dscores, width, n,
            {block.dq.data + first, block.dq.stride, queries, nullptr, false});
    transpose_tile(probabilities, n, width, probabilities_t, padded);
    transpose_tile(dscores, n, width, dscores_t, padded);
    const bool add = first > 0;
    product({block.dcontext.data + first, block.dcontext.stride, 1}, features, probabilities_t, padded, queries,
            {block.dv.data, block.dv.stride, n, nullptr, add});
    product({block.q.data + first, block.q.stride, 1}, features, dscores_t, padded, queries,
            {block.dk.data, block.dk.stride, n, nullptr, add});
  }
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
