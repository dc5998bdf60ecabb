// The launchers of this backend's kernels: plain pointers and sizes, so that what nvcc compiles includes no C++20
// header of bertx, and what the C++ compiler compiles no device code. A launcher puts its kernels on `stream` and
// returns; a matrix without elements is no work. Shapes as in backend.h; strides in elements; a null pointer stands for
// "empty".
#pragma once

#include <cstdint>

#include "cuda/launch.h"

struct CUstream_st;

namespace bertx::cuda {

using Stream = CUstream_st*;

/// Row i begins at data + i * stride.
struct Matrix {
  float* data = nullptr;
  std::int64_t stride = 0;
};
struct ConstMatrix {
  const float* data = nullptr;
  std::int64_t stride = 0;
};
/// Activations that only products read (Backend::between_products).
struct Bf16Matrix {
  std::uint16_t* data = nullptr;
  std::int64_t stride = 0;
};
struct Shape {
  std::int64_t rows = 0, cols = 0;
};
/// What pairs with bertx::Activation, value by value.
enum class Pointwise : int { none, gelu_erf, gelu_tanh, relu, tanh };
/// Dropout by bertx::random_u32; a threshold of 0 keeps everything.
struct DropoutMask {
  std::uint64_t seed = 0;
  std::uint32_t threshold = 0;
  float scale = 1.0f;
};

// ---- elementwise.cu ------------------------------------------------------------------------------------------------
/// Elements of 1, 2, 4 or 8 bytes, all with the bits of `pattern`.
void fill(Stream stream, void* x, std::int64_t stride, int element_bytes, Shape shape, std::uint64_t pattern);
/// to [rows, cols] in bf16, rounded to nearest, ties to even
void to_bf16(Stream stream, ConstMatrix from, Shape shape, Bf16Matrix to);
void from_bf16(Stream stream, Bf16Matrix from, Shape shape, Matrix to);
/// The same to TF32, ties away from 0
void to_tf32(Stream stream, ConstMatrix from, Shape shape, Matrix to);
void bias_activation(Stream stream, Matrix x, const float* bias, Pointwise activation, Matrix y, Shape shape);
void activation_grad(Stream stream, ConstMatrix x, Pointwise activation, ConstMatrix dy, Matrix dx, Shape shape);
/// y = activation(x + bias) + residual in bf16; bias and residual may be null
void finish_to_bf16(Stream stream, ConstMatrix x, const float* bias, Pointwise activation, ConstMatrix residual,
                    Bf16Matrix y, Shape shape);
/// y = dropout(activation(y + bias)) + residual; bias and residual may be null
void finish(Stream stream, Matrix y, const float* bias, Pointwise activation, DropoutMask dropout, ConstMatrix residual,
            Shape shape);
void dropout(Stream stream, ConstMatrix x, DropoutMask dropout, Matrix y, Shape shape);
void add(Stream stream, ConstMatrix x, Matrix y, Shape shape);
void mask_apply(Stream stream, ConstMatrix w, const std::uint8_t* mask, std::int64_t mask_stride, Matrix out,
                Shape shape);
void mask_grad(Stream stream, ConstMatrix g, ConstMatrix w, const std::uint8_t* mask, std::int64_t mask_stride,
               Matrix dw, Matrix dscores, Shape shape);

// ---- reductions.cu -------------------------------------------------------------------------------------------------
/// Sums of a block each; what is summed over a matrix needs at most so many.
inline constexpr std::int64_t kMostPartials = 1024;
/// *sum = Σ values [n], in one order
void sum_up(Stream stream, const double* values, std::int64_t n, double* sum);
/// dbias [rows] += row sums of dy
void bias_grad(Stream stream, ConstMatrix dy, float* dbias, Shape shape);
/// *sum = Σ sigmoid(scores); dscores += scale * sigmoid'(scores); partials [kMostPartials]
void sigmoid_penalty(Stream stream, ConstMatrix scores, double scale, Matrix dscores, Shape shape, double* partials,
                     double* sum);
/// *sum = Σ (logits - targets)²; dlogits = factor * (logits - targets)
void squared_error(Stream stream, ConstMatrix logits, ConstMatrix targets, double factor, Matrix dlogits, Shape shape,
                   double* partials, double* sum);
/// *sum = Σ of the sigmoid cross entropies; dlogits = factor * (sigmoid(logits) - targets)
void sigmoid_cross_entropy(Stream stream, ConstMatrix logits, ConstMatrix targets, double factor, Matrix dlogits,
                           Shape shape, double* partials, double* sum);

// ---- normalization.cu ----------------------------------------------------------------------------------------------
void layer_norm(Stream stream, ConstMatrix x, const float* gamma, const float* beta, float eps, Matrix y, float* mean,
                float* rstd, Shape shape);
void layer_norm_grad(Stream stream, ConstMatrix x, const float* gamma, const float* mean, const float* rstd,
                     ConstMatrix dy, Matrix dx, float* dgamma, float* dbeta, Shape shape);

// ---- product_cores.cu ----------------------------------------------------------------------------------------------
/// What tensor cores take their inputs as; sums are f32.
enum class Cores : int { bf16, tf32 };
/// numbers [rows, cols]: bf16, or f32 that have been rounded to TF32; rows begin at multiples of 16 bytes.
struct RoundedWeight {
  const void* numbers = nullptr;
  std::int64_t rows = 0, cols = 0, stride = 0;
  Cores cores = Cores::bf16;
};
/// What a block makes of y: 256 x 128, 128 x 128, 64 x 64, or 32 x 32; or 256 x 128 by warpgroups, which only devices
/// of compute capability 9.0 have, and only for bf16.
enum class ProductCut : int { largest, large, middle, small, warpgroups };
/// y [rows, tokens] = activation(W x + bias) + residual, x [cols, tokens] being f32 that is rounded on its way, or bf16
/// at multiples of 16 bytes where it has been. Columns of x from `tokens` to the next multiple of four below the stride
/// may be read; the residual must not overlap y.
void product_by_cores(Stream stream, ProductCut cut, const RoundedWeight& w, sparse::cuda::Input x, bool x_rounded,
                      sparse::cuda::Output y, std::int64_t tokens, const sparse::cuda::Epilogue& epilogue);

// ---- attention.cu, attention_grad.cu, attention_cores.cu -----------------------------------------------------------
struct Attention {
  std::int64_t heads = 0, head_dim = 0, tokens = 0, sequences = 0;
  const std::int32_t* starts = nullptr;  ///< [sequences + 1]
  ConstMatrix q, k, v;                   ///< [heads * head_dim, tokens]
  DropoutMask dropout;
};
struct AttentionGrad {
  ConstMatrix log_sum_exp, dcontext;
  const float* delta = nullptr;  ///< [heads, tokens]: Σ over the features of a head of context * dcontext
  Matrix dq, dk, dv;
};
void attention(Stream stream, const Attention& a, Matrix context, Matrix log_sum_exp);
void attention_delta(Stream stream, const Attention& a, ConstMatrix context, ConstMatrix dcontext, float* delta);
void attention_grad(Stream stream, const Attention& a, const AttentionGrad& g);
/// The same by tensor cores with rounded inputs, for heads of at most so many features.
inline constexpr std::int64_t kMostCoresHeadDim = 64;
void attention_by_cores(Stream stream, Cores cores, const Attention& a, Matrix context, Matrix log_sum_exp);
/// Of q, k and v in bf16 (a.q, a.k and a.v are not read) into a context in bf16
void attention_of_bf16(Stream stream, const Attention& a, Bf16Matrix q, Bf16Matrix k, Bf16Matrix v, Bf16Matrix context,
                       Matrix log_sum_exp);
void attention_grad_by_cores(Stream stream, Cores cores, const Attention& a, const AttentionGrad& g);
/// out [groups, sequences] = Σ a·b over the rows of a group and the tokens of a sequence
void segment_dot(Stream stream, ConstMatrix a, ConstMatrix b, const std::int32_t* starts, Matrix out, Shape out_shape,
                 std::int64_t rows_of_group);

// ---- embeddings.cu -------------------------------------------------------------------------------------------------
struct Tokens {
  const std::int32_t *ids = nullptr, *types = nullptr, *starts = nullptr;
  std::int64_t count = 0, sequences = 0;
};
/// Tables that are null are left out.
void embed(Stream stream, const Tokens& tokens, ConstMatrix word, ConstMatrix position, ConstMatrix type, Matrix x,
           std::int64_t features);
/// next [n]: the place after i that holds the same number, or n; repeats [n]: 1 where an earlier place holds it.
void occurrences(Stream stream, const std::int32_t* index, std::int64_t n, std::int32_t* next, std::uint8_t* repeats);
void transposed(Stream stream, ConstMatrix x, Shape shape, Matrix to);
/// table [.., features] += the rows of dx_rows [n, features] at the places of each number, in their order
void embed_rows_grad(Stream stream, const std::int32_t* index, const std::int32_t* next, const std::uint8_t* repeats,
                     std::int64_t n, ConstMatrix dx_rows, Matrix table, std::int64_t features);
void embed_position_grad(Stream stream, const Tokens& tokens, ConstMatrix dx_rows, Matrix table, Shape table_shape);
/// table [types, features] += the columns of dx [features, T] of each type
void embed_type_grad(Stream stream, const Tokens& tokens, ConstMatrix dx, Matrix table, Shape table_shape);
void gather_columns(Stream stream, ConstMatrix x, const std::int32_t* index, Matrix y, Shape y_shape);
void gather_columns(Stream stream, Bf16Matrix x, const std::int32_t* index, Bf16Matrix y, Shape y_shape);
/// Writes the columns that `index` names; the others are left as they are.
void gather_columns_grad(Stream stream, ConstMatrix dy, const std::int32_t* index, const std::int32_t* next,
                         const std::uint8_t* repeats, Matrix dx, Shape dy_shape);

// ---- losses.cu -----------------------------------------------------------------------------------------------------
/// result[0] = Σ of the losses, result[1] = how many labels count; losses [N]
void cross_entropy(Stream stream, ConstMatrix logits, const std::int32_t* labels, double scale, Matrix dlogits,
                   Shape shape, double* losses, double* result);
/// *sum = the loss; dlogits, which was cleared, gets its gradient; losses [2 * sequences]
void span_cross_entropy(Stream stream, ConstMatrix logits, const std::int32_t* starts, const std::int32_t* labels,
                        std::int64_t sequences, double scale, Matrix dlogits, double* losses, double* sum);

// ---- teacher_losses.cu, relations.cu -------------------------------------------------------------------------------
/// *sum = Σ over the columns of KL(softmax(targets / temperature) ‖ softmax(logits / temperature)); dlogits = factor *
/// the difference of the probabilities; losses [columns]
void softened_divergence(Stream stream, ConstMatrix logits, ConstMatrix targets, double temperature, double factor,
                         Matrix dlogits, Shape shape, double* losses, double* sum);
/// *sum = Σ over the columns of 1 - cosine; dx = factor * its gradient; losses [columns]
void cosine_distance(Stream stream, ConstMatrix x, ConstMatrix targets, double factor, Matrix dx, Shape shape,
                     double* losses, double* sum);
struct RelationSide {
  ConstMatrix a, b;  ///< [heads * head_dim, tokens]
  std::int64_t head_dim = 0;
};
struct Relations {
  RelationSide student, teacher;
  std::int64_t heads = 0, tokens = 0, sequences = 0;
  const std::int32_t* starts = nullptr;  ///< [sequences + 1]
  bool distributions = false;            ///< else squares
};
/// Tiles that tokens are cut into.
std::int64_t relation_tiles(std::int64_t tokens);
/// The sum of the distances and what their mean is over; da, db += scale times the gradient of the mean (both may be
/// null). log_sums [2, heads, tokens], of distributions only; losses [heads, tiles]
void relation_distance(Stream stream, const Relations& r, double scale, Matrix da, Matrix db, float* log_sums,
                       double* losses, double* sum_and_count);

// ---- optimizer.cu --------------------------------------------------------------------------------------------------
/// So many elements of a tensor at most are the work of a block.
inline constexpr std::int64_t kPiece = 32768;
struct SumPiece {
  const float* data;
  std::int64_t count;
};
struct AdamWPiece {
  float *value, *gradient, *first_moment, *second_moment;  ///< gradient, moments: may be null
  std::int64_t count;
  float keep;  ///< 1 - rate * decay
  float rate;  ///< divided by the bias correction of the first moment
};
struct AdamWFactors {
  float gradient_scale, beta1, beta2, one_minus_beta1, one_minus_beta2;
  float root_correction;  ///< 1 / √ of the bias correction of the second moment
  float eps;
};
/// partials [n] = Σ of the squares of a piece; both in device memory
void squares(Stream stream, const SumPiece* pieces, std::int64_t n, double* partials);
void adamw(Stream stream, const AdamWFactors& factors, const AdamWPiece* pieces, std::int64_t n);

}  // namespace bertx::cuda
