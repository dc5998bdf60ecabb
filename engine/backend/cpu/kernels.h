// What every instruction set offers: kernels over plain pointers, one thread, no allocation. Compiled once per
// instruction set, so this header holds declarations only. Matrices are row-major with a stride in elements.
#pragma once

#include <stdint.h>

namespace bertx::cpu {

struct Matrix {
  float* data;
  int64_t stride;
};
struct ConstMatrix {
  const float* data;
  int64_t stride;
};
struct HalfMatrix {
  uint16_t* data;  ///< bf16
  int64_t stride;
};
struct ConstHalfMatrix {
  const uint16_t* data;
  int64_t stride;
};
struct Range {
  int64_t first, last;
};

enum class Pointwise : int { none, gelu_erf, gelu_tanh, relu, tanh };

/// random_u32(seed, row, column) < threshold is dropped, what is kept is multiplied by scale; threshold 0 and scale 1
/// are the identity.
struct DropoutMask {
  uint64_t seed = 0;
  uint32_t threshold = 0;
  float scale = 1;
};

/// One block of queries, at most Kernels::query_block of them, of one head of one sequence.
struct AttentionBlock {
  ConstMatrix q, k, v;  ///< at the head's first feature; q at the block's first query, k and v at the first key
  int64_t head_dim, keys, queries;
  float scale;  ///< of the scores
  DropoutMask dropout;
  int64_t mask_row, mask_column;  ///< where the first key and the first query stand in the dropout's matrix
  Matrix context;                 ///< at the first query
  float* log_sum_exp;             ///< at the first query, or null
};

/// One head of one sequence: q, k, v, gradients and context at the head's first feature and the sequence's first token.
struct AttentionGradBlock {
  ConstMatrix q, k, v, context, dcontext;
  const float* log_sum_exp;
  int64_t head_dim, tokens;
  float scale;
  DropoutMask dropout;
  int64_t mask_row, mask_column;
  Matrix dq, dk, dv;
};

/// Where the relations of one head of one sequence come from: a and b at the head's first feature and the first token.
struct RelationSide {
  ConstMatrix a, b;
  int64_t head_dim;
  float scale;  ///< of the scores
};
struct RelationBlock {
  RelationSide student, teacher;
  int64_t tokens;
  bool distributions;
  float factor;   ///< of the gradient
  Matrix da, db;  ///< as the student's a and b, or null
};

/// Element-wise constants of one AdamW update; see the kernel for the formula.
struct AdamWFactors {
  float gradient_scale, beta1, beta2, one_minus_beta1, one_minus_beta2;
  float decay;       ///< what the weight is multiplied by first
  float rate;        ///< learning rate over the first bias correction
  float root_scale;  ///< 1 / sqrt(second bias correction)
  float eps;
};

// ---- elementwise_kernels.cpp: rows of [F, T] ----
using BiasActivation = void(Matrix x, const float* bias, Pointwise kind, Matrix y, Range rows, int64_t cols);
using ActivationGrad = void(ConstMatrix x, Pointwise kind, ConstMatrix dy, Matrix dx, Range rows, int64_t cols);
/// out[row] += Σ dy[row, :]
using RowSums = void(ConstMatrix dy, float* out, Range rows, int64_t cols);
/// y = dropout(y + bias) + residual; bias may be null.
using BiasDropoutResidual = void(Matrix y, const float* bias, DropoutMask mask, ConstMatrix residual, Range rows,
                                 int64_t cols);
using ApplyDropout = void(ConstMatrix x, DropoutMask mask, Matrix y, Range rows, int64_t cols);
using Add = void(ConstMatrix x, Matrix y, Range rows, int64_t cols);
/// Σ a·b over the rows and `cols` columns
using Dot = double(ConstMatrix a, ConstMatrix b, Range rows, int64_t cols);

// ---- normalization_kernels.cpp: tokens `cols` of [F, T] ----
using LayerNorm = void(ConstMatrix x, const float* gamma, const float* beta, double eps, Matrix y, float* mean,
                       float* rstd, int64_t features, Range cols);
using LayerNormGrad = void(ConstMatrix x, const float* gamma, const float* mean, const float* rstd, ConstMatrix dy,
                           Matrix dx, int64_t features, Range cols);
/// dgamma[row] += Σ dy (x - mean) rstd, dbeta[row] += Σ dy; either may be null.
using LayerNormParamGrad = void(ConstMatrix x, const float* mean, const float* rstd, ConstMatrix dy, float* dgamma,
                                float* dbeta, Range rows, int64_t cols);

// ---- attention_kernels.cpp, attention_grad_kernels.cpp ----
using ScratchSize = int64_t(int64_t head_dim, int64_t keys);  ///< in floats
using Attention = void(const AttentionBlock& block, float* scratch);
using AttentionGrad = void(const AttentionGradBlock& block, float* scratch);

// ---- relation_kernels.cpp ----
/// Returns the sum of the distances; da, db += factor times its gradient. The scratch is for the wider of both sides.
using Relation = double(const RelationBlock& block, float* scratch);

// ---- embedding_kernels.cpp: features of `lanes` a block ----
/// x[features, t] = word[t] + position[t] + type[t], the pointers being rows of tables; t < tokens <= lanes
using Embed = void(const float* const* word, const float* const* position, const float* const* type, int64_t tokens,
                   Range features, Matrix x);
/// rows[t][features] += dx[features, t] in the order of t; t < tokens <= lanes
using EmbedGrad = void(ConstMatrix dx, int64_t tokens, Range features, float* const* rows);

// ---- loss_kernels.cpp: tokens `cols` of logits [C, N] ----
/// largest[n] and sum[n] = Σ_c exp(logit[c, n] - largest[n])
using SoftmaxSums = void(ConstMatrix logits, int64_t classes, Range cols, float* largest, double* sum);
/// dlogits[c, n] = factor[n] * exp(logit[c, n] - log_sum[n]); the label's -factor is the caller's
using SoftmaxGrad = void(ConstMatrix logits, int64_t classes, Range cols, const float* log_sum, const float* factor,
                         Matrix dlogits);

// ---- few_tokens_kernels.cpp ----
/// x [k, tokens] -> out [tokens rounded up to 4, k in whole vectors], the rest 0
using Transposed = void(ConstMatrix x, int64_t k, int64_t tokens, Matrix out);
/// y [rows, tokens] = W [rows, k] X [k, tokens] (+ y), with x as `transposed` leaves it
using FewTokens = void(ConstMatrix w, ConstMatrix x, int64_t k, int64_t tokens, Matrix y, Range rows, bool add);
/// The same with W in bf16, whose rows are zero from k up to whole vectors.
using FewTokensBf16 = void(ConstHalfMatrix w, ConstMatrix x, int64_t k, int64_t tokens, Matrix y, Range rows, bool add);

// ---- bf16_kernels.cpp: rows of x [., cols] ----
/// out [., width] = x rounded to bf16, 0 from `cols` on; width is a multiple of 32
using ToBf16 = void(ConstMatrix x, int64_t cols, int64_t width, HalfMatrix out, Range rows);
/// out = x rounded to bf16, kept as float; out may be x
using RoundToBf16 = void(ConstMatrix x, int64_t cols, Matrix out, Range rows);

// ---- optimizer_kernels.cpp: `count` elements one after the other ----
/// gradient becomes 0; it may be null (zeros), and first and second with it (zeros that stay).
using AdamW = void(const AdamWFactors& factors, float* value, float* gradient, float* first, float* second,
                   int64_t count);
using SumOfSquares = double(const float* x, int64_t count);
using MaskApply = void(const float* w, const uint8_t* mask, float* out, int64_t count);
/// dw += g where mask; dscores += w g; either may be null.
using MaskGrad = void(const float* g, const float* w, const uint8_t* mask, float* dw, float* dscores, int64_t count);

/// returns Σ sigmoid(scores); dscores += scale * sigmoid'(scores) unless it is null
using SigmoidPenalty = double(const float* scores, float scale, float* dscores, int64_t count);

struct Kernels {
  int64_t lanes;        ///< floats in a vector
  int64_t query_block;  ///< most queries of an AttentionBlock
  BiasActivation* bias_activation;
  ActivationGrad* activation_grad;
  RowSums* row_sums;
  BiasDropoutResidual* bias_dropout_residual;
  ApplyDropout* apply_dropout;
  Add* add;
  Dot* dot;
  LayerNorm* layer_norm;
  LayerNormGrad* layer_norm_grad;
  LayerNormParamGrad* layer_norm_param_grad;
  ScratchSize* attention_scratch;
  Attention* attention;
  ScratchSize* attention_grad_scratch;
  AttentionGrad* attention_grad;
  ScratchSize* relation_scratch;
  Relation* relation;
  Embed* embed;
  EmbedGrad* embed_grad;
  SoftmaxSums* softmax_sums;
  SoftmaxGrad* softmax_grad;
  Transposed* transposed;
  FewTokens* few_tokens;
  FewTokensBf16* few_tokens_bf16;
  ToBf16* to_bf16;
  RoundToBf16* round_to_bf16;
  AdamW* adamw;
  SumOfSquares* sum_of_squares;
  MaskApply* mask_apply;
  MaskGrad* mask_grad;
  SigmoidPenalty* sigmoid_penalty;
};

#define BERTX_DECLARE_KERNELS(isa)           \
  namespace isa {                            \
  extern const int64_t query_block;          \
  BiasActivation bias_activation;            \
  ActivationGrad activation_grad;            \
  RowSums row_sums;                          \
  BiasDropoutResidual bias_dropout_residual; \
  ApplyDropout apply_dropout;                \
  Add add;                                   \
  Dot dot;                                   \
  LayerNorm layer_norm;                      \
  LayerNormGrad layer_norm_grad;             \
  LayerNormParamGrad layer_norm_param_grad;  \
  ScratchSize attention_scratch;             \
  Attention attention;                       \
  ScratchSize attention_grad_scratch;        \
  AttentionGrad attention_grad;              \
  ScratchSize relation_scratch;              \
  Relation relation;                         \
  Embed embed;                               \
  EmbedGrad embed_grad;                      \
  SoftmaxSums softmax_sums;                  \
  SoftmaxGrad softmax_grad;                  \
  Transposed transposed;                     \
  FewTokens few_tokens;                      \
  FewTokensBf16 few_tokens_bf16;             \
  ToBf16 to_bf16;                            \
  RoundToBf16 round_to_bf16;                 \
  AdamW adamw;                               \
  SumOfSquares sum_of_squares;               \
  MaskApply mask_apply;                      \
  MaskGrad mask_grad;                        \
  SigmoidPenalty sigmoid_penalty;            \
  }
BERTX_DECLARE_KERNELS(portable)
BERTX_DECLARE_KERNELS(avx2)
BERTX_DECLARE_KERNELS(avx512)
#undef BERTX_DECLARE_KERNELS

/// Those of sparse::active_isa().
const Kernels& active_kernels();

}  // namespace bertx::cpu
