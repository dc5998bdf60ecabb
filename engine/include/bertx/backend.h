// The seam between the model and the machine: every operation of BERT, forward beside backward, on one kind of memory.
//
// Contract of all operations
// - Activations are [features, tokens] (see Tensor). Shapes stand behind the arguments; T tokens, B sequences.
// - Gradients of parameters accumulate (+=); gradients of activations are overwritten, unless `Write::add` is asked
// for.
// - Tensors of type "real" have dtype real(); ids, labels and starts are i32; masks are u8 (0 or 1).
// - An output may alias an input only where it is said.
// - A matrix may have 0 rows or columns and a sequence 0 tokens: they contribute nothing; a mean over nothing is 0.
// - Operations are ordered as they are called; those that return a number have finished when they return.
// - All operations of one backend may be called from many threads at once, on different outputs.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/config.h"
#include "bertx/tensor.h"

namespace bertx {

enum class Trans : bool { no, yes };
enum class Write : bool { overwrite, add };

/// Dropout whose mask is a pure function of (seed, row, column): nothing is stored, backward makes it again.
/// Element (i, t) of a matrix is kept where random_u32(seed, i, t) >= p * 2^32 and then scaled by 1 / (1 - p).
struct Dropout {
  float p = 0.0f;  ///< 0: identity
  std::uint64_t seed = 0;
  bool active() const { return p > 0.0f; }
};

/// Self-attention over ragged sequences: heads * head_dim rows; scores are scaled by 1/sqrt(head_dim).
struct AttentionShape {
  std::int64_t heads = 0, head_dim = 0;
};

/// How the relations S of a student's tokens are compared with a teacher's: mean of (S - S')² over all pairs, or of
/// KL(softmax S' ‖ softmax S) over all queries, the softmax running over the keys.
enum class Comparison : bool { squares, distributions };

/// What is done to a product in the same pass: y = activation(W x + bias) + residual. Empty: left out.
struct Epilogue {
  Tensor bias = {};  ///< [F, 1]
  Activation activation = Activation::none;
  Tensor residual = {};  ///< [F, T]; it must not be y
};

/// A CSR matrix in the layout that the backend's fastest training products want; made by Backend::prepare_pattern.
class PreparedPattern {
 public:
  virtual ~PreparedPattern() = default;
  virtual std::size_t bytes() const = 0;
};

/// The fixed pattern of a CSR matrix [rows, cols] with nnz nonzeros, in backend memory (all i32).
struct CsrPattern {
  std::int64_t rows = 0, cols = 0, nnz = 0;
  Tensor row_start, columns;              ///< [1, rows + 1], [1, nnz]
  Tensor column_start, row_of, position;  ///< transposed index: [1, cols + 1], [1, nnz], [1, nnz]; may be empty
  /// Where it is set, products read the values that it was given last instead of those of the call.
  std::shared_ptr<PreparedPattern> prepared = nullptr;
};

/// Hyper-parameters of one AdamW update (Loshchilov & Hutter 2019, 1711.05101), as torch.optim.AdamW.
struct AdamWStep {
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::int64_t step = 1;  ///< counts from 1; used by the bias correction
  bool bias_correction = true;
  double gradient_scale = 1.0;  ///< gradients are multiplied by this first (clipping)
};

/// One tensor of an AdamW update, or some rows of one; all of one shape and contiguous. Most rows of a word embedding
/// have no gradient in a step: an empty gradient is 0 everywhere. Empty moments (then the gradient is empty, too) are 0
/// and stay so: only the decay acts.
struct AdamWItem {
  Tensor value, gradient, first_moment, second_moment;
  double weight_decay = 0;
  double learning_rate_factor = 1.0;  ///< scores of movement pruning learn at a rate of their own
};

struct BackendOptions {
  /// f32, or bf16: the inputs of dense products, in inference and training, and of products with prepared weights (on
  /// the cuda backend also of attention's) are rounded to bf16 and their sums kept in f32, while activations,
  /// parameters and optimizer stay f32 (what others call autocast with fp32 master weights). A processor without bf16
  /// instructions gives the same numbers, at no gain in speed.
  DType products = DType::f32;
  /// Of the cuda backend alone: f32 products round their inputs to TF32, which has 10 bits behind the point, so that
  /// tensor cores compute them. What tolerances say of f32 does not hold then.
  bool tf32 = false;
};

/// How long a kernel took for so many tokens when a weight was prepared.
struct TunedTime {
  std::int64_t tokens = 0;
  std::string kernel;
  double milliseconds = 0;
  bool chosen = false;  ///< it serves this number of tokens, and fewer down to the number before
};

/// A weight in the layout that the backend's fastest inference kernel wants; made by Backend::prepare_*.
class PreparedWeight {
 public:
  virtual ~PreparedWeight() = default;
  virtual std::string_view kernel() const = 0;  ///< name for reports, e.g. "csr-avx512"
  virtual std::size_t bytes() const = 0;
  /// What its kernels were chosen by; empty where nothing was measured.
  virtual std::vector<TunedTime> tuning() const { return {}; }
};

/// Operations that were put down once, to be run again as one; made by Backend::record.
class Recording {
 public:
  virtual ~Recording() = default;
  /// Does them with what now lies in the memory that they were called with.
  virtual void run() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  ///< "reference" | "cpu" | "cuda"
  virtual DType real() const = 0;             ///< type of activations and parameters
  /// What the inputs of dense products are rounded to: real() or less.
  virtual DType products() const { return real(); }
  /// Whether products() is f32, but their inputs are rounded to TF32.
  virtual bool tf32() const { return false; }
  /// What products() is for the products within attention, which the cpu backend leaves in f32.
  virtual DType attention_products() const { return real(); }
  /// Type of activations that one prepared weight, or attention, gives and only the next reads: real(), or products()
  /// where apply(), attention() and gather_columns() take and give it. Then they are rounded where they are made instead
  /// of where they are read: the same numbers in half the memory.
  virtual DType between_products() const { return real(); }
  virtual std::string description() const = 0;  ///< versions and device, one line, for --version and reports

  // ---- memory -------------------------------------------------------------------------------------------------
  /// Uninitialised, aligned to 64 bytes, never null. Throws Error(out_of_memory) with what was needed.
  virtual Buffer allocate(std::size_t bytes) = 0;
  /// The host may read and write this backend's memory directly.
  virtual bool host_memory() const = 0;
  /// Copies between host memory and this backend's, converting between float types; integer types must agree.
  virtual void upload(Tensor host, Tensor device) = 0;
  virtual void download(Tensor device, Tensor host) = 0;
  virtual void fill(Tensor x, double value) = 0;  ///< of any dtype
  virtual void copy(Tensor from, Tensor to) = 0;  ///< same dtype and shape

  /// Puts down what `operations` calls, without doing it (CUDA graphs); null where this backend gains nothing by it,
  /// and then `operations` is not called. They must have been called in the same way before, so that whatever is
  /// planned, measured or allocated once is there; they may not move anything between host and device nor return a
  /// number, and the memory that they work in must outlive the recording.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& operations) {
    static_cast<void>(operations);
    return nullptr;
  }

  // ---- products -----------------------------------------------------------------------------------------------
  /// C [m, n] = op(A) [m, k] op(B) [k, n]  (+ C). k = 0 gives 0.
  virtual void gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) = 0;

  /// Y [rows, T] = W X [cols, T] with W = (pattern, values [1, nnz]).
  virtual void spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) = 0;
  /// dX [cols, T] = Wᵀ dY [rows, T]  (+ dX); needs the transposed index.
  virtual void spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) = 0;
  /// dvalues [1, nnz] += the entries of dY [rows, T] Xᵀ [T, cols] on the pattern.
  virtual void sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) = 0;

  /// Lays a matrix out for training, with room for changing values; null where this backend gains nothing by it.
  virtual std::shared_ptr<PreparedPattern> prepare_pattern(const CsrPattern& pattern, Tensor values) = 0;
  /// Takes over new values [1, nnz] for pattern.prepared.
  virtual void update_values(const CsrPattern& pattern, Tensor values) = 0;

  /// Packs W for inference; null where this backend gains nothing by it. The result does not refer to its inputs.
  virtual std::unique_ptr<PreparedWeight> prepare_dense(Tensor w) = 0;
  virtual std::unique_ptr<PreparedWeight> prepare_csr(const CsrPattern& pattern, Tensor values) = 0;
  /// Y [out, T] = activation(W X [in, T] + bias) + residual
  virtual void apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) = 0;

  // ---- bias and activation ------------------------------------------------------------------------------------
  /// X [F, T] += bias [F, 1]; Y = activation(X). X keeps the sum (backward needs it); Y may alias X; bias may be empty.
  virtual void bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) = 0;
  /// dX = dY * activation'(X), X being the sum above. dX may alias dY.
  virtual void activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) = 0;
  /// dbias [F, 1] += row sums of dY [F, T]
  virtual void bias_grad(Tensor dy, Tensor dbias) = 0;

  // ---- residual, dropout, LayerNorm ---------------------------------------------------------------------------
  /// Y [F, T] = dropout(Y + bias [F, 1]) + R, in place; bias may be empty.
  virtual void bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) = 0;
  /// Y = dropout(X); Y may alias X. Its own gradient: dX = dropout(dY) with the same seed.
  virtual void dropout(Tensor x, Dropout dropout, Tensor y) = 0;
  /// Y = (X - mean) * rstd * gamma + beta per token over the features; biased variance, eps inside the root.
  /// mean, rstd [1, T] are outputs; Y may alias X only when backward will not be called.
  virtual void layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) = 0;
  /// dX overwritten (may alias dY); dgamma, dbeta [F, 1] += (either may be empty: frozen).
  virtual void layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                               Tensor dbeta) = 0;
  /// Y += X
  virtual void add(Tensor x, Tensor y) = 0;

  // ---- attention ----------------------------------------------------------------------------------------------
  /// context [H·D, T] from q, k, v [H·D, T]; scores never leave their sequence. log_sum_exp [H, T] is written when it
  /// is not empty (backward needs it). Dropout acts on the probabilities: its row is
  /// head * T + (token index of the key), its column the token index of the query, both counted over the whole batch.
  virtual void attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                         Tensor context, Tensor log_sum_exp) = 0;
  virtual void attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                              Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) = 0;
  /// out [groups, B] = Σ a·b over the rows of a group (rows / groups each) and the tokens of a sequence: with context
  /// and its gradient, the gradient of a gate on each head, one example at a time (Michel et al. 2019, 1905.10650).
  virtual void segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) = 0;

  // ---- embeddings and columns ---------------------------------------------------------------------------------
  /// X [F, T] = word[ids] + position[0…] + type[types]; tables are [entries, F], ids and types [1, T], starts [1, B +
  /// 1]. Empty tables are left out.
  virtual void embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type, Tensor x) = 0;
  /// dword, dposition, dtype += ; an empty one is frozen.
  virtual void embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                          Tensor dtype) = 0;
  /// Y [F, n] = the columns index [1, n] of X [F, T]
  virtual void gather_columns(Tensor x, Tensor index, Tensor y) = 0;
  /// dX [F, T] = 0 but for the columns index, which sum dY [F, n]
  virtual void gather_columns_grad(Tensor dy, Tensor index, Tensor dx) = 0;

  // ---- losses: each returns the mean loss; dlogits (overwritten; may be empty) is its gradient times scale ------
  /// logits [C, N], labels [1, N] (-100: ignored); the mean is over the labels that are not ignored, 0 if none.
  virtual double cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) = 0;
  /// logits [2, T] (start, end), labels [1, 2B] (start of each sequence, then end of each, relative to the sequence;
  /// outside of it: ignored); softmax over the tokens of a sequence; (mean over starts + mean over ends) / 2.
  virtual double span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) = 0;
  /// logits, targets of one shape (targets real)
  virtual double mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) = 0;
  /// sigmoid cross entropy per output, mean over all outputs
  virtual double binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) = 0;

  // ---- losses against a teacher: as above --------------------------------------------------------------------------
  /// temperature² · KL(softmax(targets / temperature) ‖ softmax(logits / temperature)), mean over the columns; logits
  /// and targets [C, N], both before any softmax (Hinton et al. 2015, 1503.02531).
  virtual double softened_divergence(Tensor logits, Tensor targets, double temperature, double scale,
                                     Tensor dlogits) = 0;
  /// 1 - cosine of x and targets [F, N], mean over the columns. A column of zeros has cosine 0 and no gradient.
  virtual double cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) = 0;
  /// The relations of the tokens of a sequence, S [keys, queries] = Bᵀ A / √D, one head at a time, compared with a
  /// teacher's: a, b [heads·D, T], teacher_a, teacher_b [heads·D', T]; the mean is over heads and pairs, or heads and
  /// queries. da, db += scale times the gradient (both may be empty). a and b may be one tensor, then da and db are.
  virtual double relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                                   Tensor teacher_b, Tensor starts, double scale, Tensor da, Tensor db) = 0;

  // ---- masks (pruning during training) --------------------------------------------------------------------------
  /// out = w where mask, else 0
  virtual void mask_apply(Tensor w, Tensor mask, Tensor out) = 0;
  /// dw += g where mask; dscores += w * g everywhere (straight-through); either may be empty, without dw the mask too.
  virtual void mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) = 0;
  /// Returns Σ sigmoid(scores); dscores += scale * sigmoid'(scores). The penalty of soft movement pruning.
  virtual double sigmoid_penalty(Tensor scores, double scale, Tensor dscores) = 0;

  // ---- optimizer ------------------------------------------------------------------------------------------------
  virtual double sum_of_squares(std::span<const Tensor> tensors) = 0;
  /// One update of all items. Gradients become 0 as they are read, so that the next step need not clear them.
  virtual void adamw(const AdamWStep& step, std::span<const AdamWItem> items) = 0;
};

/// What the products of a backend run in: "f64", "f32", "tf32" or "bf16".
std::string_view precision_of(const Backend& backend);

/// y [F, T] = activation(y + bias) + residual, after a product that does not do it in its own pass.
void apply_epilogue(Backend& backend, const Epilogue& epilogue, Tensor y);

/// The random stream of dropout on every backend: a hash of (seed, row, column), no state.
inline std::uint32_t random_u32(std::uint64_t seed, std::uint32_t row, std::uint32_t column) {
  // 32-bit multiplications only, so that it vectorises; the finaliser is "lowbias32" of C. Wellons.
  std::uint32_t x = column * 0x9E3779B1u ^ static_cast<std::uint32_t>(seed);
  x ^= (row + 0x7F4A7C15u) * 0x85EBCA6Bu ^ static_cast<std::uint32_t>(seed >> 32);
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}
/// The value below which random_u32 drops an element.
inline std::uint32_t dropout_threshold(float p) {
  const double scaled = static_cast<double>(p) * 4294967296.0;
  return scaled >= 4294967295.0 ? 4294967295u : static_cast<std::uint32_t>(scaled);
}

/// "reference": naive, double, the oracle of all tests.
std::unique_ptr<Backend> make_reference_backend();
/// "cpu": oneDNN, OpenMP and sparse/; throws Error(usage) where a build for CUDA was made without oneDNN.
std::unique_ptr<Backend> make_cpu_backend(BackendOptions options = {});
/// "cuda"; throws Error(usage) that says how to build it where this build lacks it, and why where no GPU can be used.
std::unique_ptr<Backend> make_cuda_backend(BackendOptions options = {});
/// Runs both, compares every result, returns those of `fast`; throws Error(numeric) that names the operation.
std::unique_ptr<Backend> make_checked_backend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> oracle);
/// By name: cpu | cuda | reference. Throws Error(usage) that lists the names, or says which backends know an option.
std::unique_ptr<Backend> make_backend(std::string_view name, BackendOptions options = {});

/// Allocated on `backend`, rows one after the other, filled with 0.
Storage make_storage(Backend& backend, std::int64_t rows, std::int64_t cols, DType dtype);

}  // namespace bertx
