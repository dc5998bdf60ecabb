// The layers of BERT: plain structs with forward and backward. What forward leaves for backward (`Saved`) belongs to
// the application, not to the layer: a shared layer is applied many times.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bertx/config.h"
#include "bertx/weight.h"

namespace bertx {

/// y = activation(W x + b)
struct Linear {
  std::shared_ptr<LinearWeight> weight;
  std::shared_ptr<Parameter> bias;  ///< [out, 1]; null: none

  /// x [in, T] -> y [out, T] = activation(W x + b) + residual; an empty residual is left out.
  void forward(Exec& exec, Tensor x, Tensor y, Activation activation = Activation::none, Tensor residual = {}) const {
    weight->apply(exec, x, y, {bias_tensor(), activation, residual});
  }
  /// x -> y = W x; the bias is left to a fused operation that follows.
  void forward_without_bias(Exec& exec, Tensor x, Tensor y) const { weight->apply(exec, x, y, {}); }
  /// dbias += Σ dy; dW += dy xᵀ; dx = Wᵀ dy (see LinearWeight::apply_grad)
  void backward(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write = Write::overwrite);
  void visit(const std::string& path, const Visit& parameter);  ///< path + ".weight", path + ".bias"

  Tensor bias_tensor() const { return bias ? bias->tensor() : Tensor{}; }
};

/// Linear maps of one input as one prepared product, [rows, T] = W x + b.
struct StackedLinear {
  std::unique_ptr<PreparedWeight> weight;
  Storage bias;  ///< [rows, 1]
  std::int64_t rows = 0;
};

/// Ba, Kiros & Hinton 2016 (1607.06450), over the features of each token.
struct LayerNorm {
  std::shared_ptr<Parameter> gamma, beta;  ///< [F, 1]
  double eps = 1e-12;

  struct Saved {
    Tensor x, mean, rstd;
  };
  /// x [F, T] -> y [F, T]; y may be x when saved is null.
  void forward(Exec& exec, Tensor x, Tensor y, Saved* saved) const;
  void backward(Exec& exec, const Saved& saved, Tensor dy, Tensor dx);
  void visit(const std::string& path, const Visit& parameter);
};

/// Word + position + type, then LayerNorm and dropout.
struct Embeddings {
  std::shared_ptr<Parameter> word;            ///< [vocab, H]; the masked LM decoder may share it
  std::shared_ptr<Parameter> position, type;  ///< [positions, H], [types, H]
  /// [E, H]; then word is [vocab, E] and the table their product, as in ALBERT (Lan et al. 2020, 1909.11942), but before
  /// the LayerNorm, so that a trained table can become one. Null: word is the table.
  std::shared_ptr<Parameter> projection;
  LayerNorm norm;
  float dropout = 0.1f;

  struct Saved {
    LayerNorm::Saved norm;
    Dropout dropout;
  };
  /// ids, types [1, T], starts [1, B + 1] -> x [H, T]
  void forward(Exec& exec, Tensor ids, Tensor types, Tensor starts, Tensor x, Saved* saved) const;
  /// dx is used up.
  void backward(Exec& exec, const Saved& saved, Tensor ids, Tensor types, Tensor starts, Tensor dx);
  void visit(const std::string& path, const Visit& parameter);
};

/// One encoder layer (post-LayerNorm): attention, residual, norm; feed-forward, residual, norm.
struct EncoderLayer {
  LayerShape shape;
  Linear query, key, value, attention_output, ffn_in, ffn_out;
  std::shared_ptr<const StackedLinear> stacked;  ///< query, key and value; null before Model::prepare
  LayerNorm attention_norm, output_norm;
  Activation activation = Activation::gelu_erf;
  float hidden_dropout = 0.1f, attention_dropout = 0.1f;

  struct Saved {
    Tensor x, q, k, v, context, log_sum_exp;  ///< attention, all tokens
    Tensor only, wanted_context;              ///< what forward was asked for, and the context there
    Dropout attention_dropout, attention_output_dropout, output_dropout;
    LayerNorm::Saved attention_norm, output_norm;
    Tensor attended, ffn_sum, ffn_active;  ///< after the first norm; before and after the activation
    bool input_only = false;               ///< Exec::recompute: x and `only` are all that was kept
    std::uint32_t first_site = 0;          ///< of its dropouts, then
  };
  /// x [H, T] -> y [H, T]; without `saved` the arena is left as it was found. `only` i32 [1, n] names the tokens whose
  /// output is wanted: then y is [H, n], and nothing after attention is spent on the others (a classifier reads the
  /// first token of each text only, which saves three quarters of its last layer).
  void forward(Exec& exec, Tensor x, Tensor starts, Tensor y, Saved* saved, Tensor only = {}) const;
  /// dy [H, T] (or [H, n]) is used up; dx [H, T] is overwritten. `index` names the layer to the probe.
  void backward(Exec& exec, const Saved& saved, Tensor starts, Tensor dy, Tensor dx, int index);
  /// x [H, T] -> queries, keys and values, [3·heads·head_dim, T]
  void project(Exec& exec, Tensor x, Tensor qkv) const;
  void visit(const std::string& path, const Visit& parameter);
  /// The six linear maps with their names, in the order of a checkpoint.
  void visit_linears(const std::string& path, const std::function<void(const std::string& path, Linear&)>& linear);

 private:
  void forward_keeping_input(Exec& exec, Tensor x, Tensor starts, Tensor y, Saved* saved, Tensor only) const;
  void backward_from_input(Exec& exec, const Saved& saved, Tensor starts, Tensor dy, Tensor dx, int index);
};

}  // namespace bertx
