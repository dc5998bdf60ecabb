// Self-attention within each sequence, one query at a time.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at, reference::dropout_factor, reference::index_at;

namespace {

/// One head of one sequence: features [row, row + head_dim) and tokens [first, last).
struct Block {
  std::int64_t head, row, head_dim, first, last, tokens;  // tokens: of the whole batch
  double scale;
};

// Calls body for each (head, sequence); starts [1, B + 1].
template <class Body>
void for_each_block(AttentionShape shape, Tensor starts, std::int64_t tokens, const Body& body) {
  for (std::int64_t head = 0; head < shape.heads; ++head) {
    for (std::int64_t b = 0; b + 1 < starts.cols; ++b) {
      body(Block{head, head * shape.head_dim, shape.head_dim, index_at(starts, b), index_at(starts, b + 1), tokens,
                 1 / std::sqrt(static_cast<double>(shape.head_dim))});
    }
  }
}

// Column a of A times column b of B over the features of the block.
double dot(const Block& block, Tensor a, std::int64_t column_a, Tensor b, std::int64_t column_b) {
  double sum = 0;
  for (std::int64_t d = block.row; d < block.row + block.head_dim; ++d) sum += at(a, d, column_a) * at(b, d, column_b);
  return sum;
}

double attention_dropout(const Block& block, Dropout dropout, std::int64_t key, std::int64_t query) {
  return dropout_factor(dropout, block.head * block.tokens + key, query);
}

void attend(const Block& block, Tensor q, Tensor k, Tensor v, Dropout dropout, Tensor context, Tensor log_sum_exp) {
  for (std::int64_t query = block.first; query < block.last; ++query) {
    std::vector<double> score;
    for (std::int64_t key = block.first; key < block.last; ++key) {
      score.push_back(dot(block, k, key, q, query) * block.scale);
    }
    const double largest = *std::max_element(score.begin(), score.end());
    double sum = 0;
    for (double s : score) sum += std::exp(s - largest);
    const double lse = largest + std::log(sum);
    if (!log_sum_exp.empty()) at(log_sum_exp, block.head, query) = lse;
    for (std::int64_t d = block.row; d < block.row + block.head_dim; ++d) {
      double mixed = 0;
      for (std::int64_t key = block.first; key < block.last; ++key) {
        const double probability = std::exp(score[static_cast<std::size_t>(key - block.first)] - lse);
        mixed += probability * attention_dropout(block, dropout, key, query) * at(v, d, key);
      }
      at(context, d, query) = mixed;
    }
  }
}

// With S = scale KᵀQ, P = softmax(S) over the keys, P̃ = P * mask, O = V P̃:
//   dP = mask * VᵀdO;  dS = P * (dP - Σ_key P dP);  dQ = scale K dS;  dK = scale Q dSᵀ;  dV = dO P̃ᵀ
void attend_grad(const Block& block, Tensor q, Tensor k, Tensor v, Dropout dropout, Tensor log_sum_exp, Tensor dcontext,
                 Tensor dq, Tensor dk, Tensor dv) {
  for (std::int64_t query = block.first; query < block.last; ++query) {
    std::vector<double> probability, factor, dprobability;
    double weighted = 0;
    for (std::int64_t key = block.first; key < block.last; ++key) {
      const double score = dot(block, k, key, q, query) * block.scale;
      probability.push_back(std::exp(score - at(log_sum_exp, block.head, query)));
      factor.push_back(attention_dropout(block, dropout, key, query));
      dprobability.push_back(factor.back() * dot(block, v, key, dcontext, query));
      weighted += probability.back() * dprobability.back();
    }
    for (std::int64_t key = block.first; key < block.last; ++key) {
      const std::size_t i = static_cast<std::size_t>(key - block.first);
      const double dscore = probability[i] * (dprobability[i] - weighted) * block.scale;
      for (std::int64_t d = block.row; d < block.row + block.head_dim; ++d) {
        at(dq, d, query) += dscore * at(k, d, key);
        at(dk, d, key) += dscore * at(q, d, query);
        at(dv, d, key) += probability[i] * factor[i] * at(dcontext, d, query);
      }
    }
  }
}

}  // namespace

// q, k, v, context [H·D, T]; log_sum_exp [H, T]
void ReferenceBackend::attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                                 Tensor context, Tensor log_sum_exp) {
  for_each_block(shape, starts, q.cols,
                 [&](const Block& block) { attend(block, q, k, v, dropout, context, log_sum_exp); });
}

// all [H·D, T] but log_sum_exp [H, T]; the context itself is not needed where Σ P dP is summed as it stands
void ReferenceBackend::attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts,
                                      Dropout dropout, Tensor /*context*/, Tensor log_sum_exp, Tensor dcontext,
                                      Tensor dq, Tensor dk, Tensor dv) {
  for (Tensor gradient : {dq, dk, dv}) fill(gradient, 0);
  for_each_block(shape, starts, q.cols,
                 [&](const Block& block) { attend_grad(block, q, k, v, dropout, log_sum_exp, dcontext, dq, dk, dv); });
}

// out [groups, B] = Σ a·b over the rows of a group and the tokens of a sequence; a, b [F, T]
void ReferenceBackend::segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) {
  const std::int64_t rows = out.rows == 0 ? 0 : a.rows / out.rows;
  assert(rows * out.rows == a.rows);
  for (std::int64_t group = 0; group < out.rows; ++group) {
    for (std::int64_t s = 0; s < out.cols; ++s) {
      double sum = 0;
      for (std::int64_t i = group * rows; i < (group + 1) * rows; ++i) {
        for (std::int64_t t = index_at(starts, s); t < index_at(starts, s + 1); ++t) sum += at(a, i, t) * at(b, i, t);
      }
      at(out, group, s) = sum;
    }
  }
}

}  // namespace bertx
