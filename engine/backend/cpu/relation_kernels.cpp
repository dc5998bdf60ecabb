// The relations between the tokens of one sequence in one head, S = scale BᵀA, of a student and of its teacher,
// compared. As in attention, queries come in blocks, lanes are queries, and scores of a block stay in scratch, [tokens,
// width]. Lanes past the queries hold zeros in both: equal, so they add nothing and have no gradient.
#include "backend/cpu/kernels.h"
#include "backend/cpu/small_product.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {

// Packed queries; scores of both [tokens, width]; the gradient transposed [width, tokens].
int64_t relation_scratch(int64_t head_dim, int64_t tokens) {
  return (head_dim + 3 * round_to_lanes(tokens)) * kMostWidth;
}

namespace {

/// scores [tokens, width] of the queries from `first`
void relation_scores(const RelationSide& side, int64_t tokens, int64_t first, int64_t queries, int64_t width,
                     float* packed, float* scores) {
  pack(side.a.data + first, side.a.stride, side.head_dim, queries, side.scale, packed, width);
  product({side.b.data, 1, side.b.stride}, tokens, packed, width, side.head_dim,
          {scores, width, width, nullptr, false});
}

/// log Σ exp of each query's scores
BERTX_INLINE Vector log_sum(const float* scores, int64_t tokens, int64_t width) {
  Vector largest = load(scores), sum{};
  for (int64_t j = 1; j < tokens; ++j) largest = max(largest, load(scores + j * width));
  for (int64_t j = 0; j < tokens; ++j) sum += exp(load(scores + j * width) - largest);
  for (int64_t lane = 0; lane < kLanes; ++lane) sum[lane] = __builtin_logf(sum[lane]);
  return largest + sum;
}

/// Returns Σ (S - S')²; scores become factor · 2 (S - S').
double compare_squares(int64_t tokens, int64_t width, float factor, const float* teacher, float* scores) {
  LongSum loss;
  for (int64_t i = 0; i < tokens * width; i += kLanes) {
    const Vector difference = load(scores + i) - load(teacher + i);
    loss.add(difference * difference);
    store(scores + i, 2.0f * factor * difference);
  }
  return loss.sum();
}

/// Returns Σ KL(P' ‖ P) over the queries; scores become factor · (P - P').
double compare_distributions(int64_t tokens, int64_t width, float factor, const float* teacher, float* scores) {
  LongSum loss;
  for (int64_t first = 0; first < width; first += kLanes) {
    const Vector log_found = log_sum(scores + first, tokens, width),
                 log_target = log_sum(teacher + first, tokens, width);
    for (int64_t j = 0; j < tokens; ++j) {
      float* const at = scores + j * width + first;
      const Vector found = load(at) - log_found, target = load(teacher + j * width + first) - log_target;
      const Vector probability = exp(target);
      loss.add(probability * (target - found));
      store(at, factor * (exp(found) - probability));
    }
  }
  return loss.sum();
}

}  // namespace

// a, b, da, db [D, tokens], the teacher's [D', tokens]
double relation(const RelationBlock& block, float* scratch) {
  const RelationSide &student = block.student, &teacher = block.teacher;
  const int64_t n = block.tokens, padded = round_to_lanes(n);
  const int64_t widest = student.head_dim > teacher.head_dim ? student.head_dim : teacher.head_dim;
  float* const packed = scratch;
  float* const scores = packed + widest * kMostWidth;
  float* const teacher_scores = scores + padded * kMostWidth;
  float* const transposed = teacher_scores + padded * kMostWidth;
  const float factor = block.factor * student.scale;
  double loss = 0;
  for (int64_t first = 0; first < n; first += kMostWidth) {
    const int64_t queries = n - first < kMostWidth ? n - first : kMostWidth, width = round_to_lanes(queries);
    relation_scores(teacher, n, first, queries, width, packed, teacher_scores);
    relation_scores(student, n, first, queries, width, packed, scores);
    loss += block.distributions ? compare_distributions(n, width, factor, teacher_scores, scores)
                                : compare_squares(n, width, factor, teacher_scores, scores);
    if (block.da.data == nullptr) continue;
    product({student.b.data, student.b.stride, 1}, student.head_dim, scores, width, n,
            {block.da.data + first, block.da.stride, queries, nullptr, true});
    transpose_tile(scores, n, width, transposed, padded);
    product({student.a.data + first, student.a.stride, 1}, student.head_dim, transposed, padded, queries,
            {block.db.data, block.db.stride, n, nullptr, true});
  }
  return loss;
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
