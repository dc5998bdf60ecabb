#include "bertx/layers.h"

namespace bertx {
namespace {

/// y [F, T] = dropout(W x + b) + residual
void project_and_add(Exec& exec, const Linear& linear, Tensor x, Dropout dropout, Tensor residual, Tensor y) {
  if (!dropout.active()) return linear.forward(exec, x, y, Activation::none, residual);
  linear.forward_without_bias(exec, x, y);
  exec.backend.bias_dropout_residual(y, linear.bias_tensor(), dropout, residual);
}

}  // namespace

// x [H, T] -> y [H, n], n = T unless only some tokens are wanted; D = heads * head_dim
void EncoderLayer::forward(Exec& exec, Tensor x, Tensor starts, Tensor y, Saved* saved, Tensor only) const {
  Backend& backend = exec.backend;
  const std::int64_t tokens = x.cols, width = shape.heads * shape.head_dim;
  const Arena::Mark mark = exec.arena.mark();
  const Dropout on_scores = exec.next_dropout(attention_dropout), on_attention = exec.next_dropout(hidden_dropout),
                on_output = exec.next_dropout(hidden_dropout);

  // Attention: q, k, v [D, T] -> context [D, T]
  const Tensor qkv = exec.take(3 * width, tokens);
  const Tensor q = qkv.row_range(0, width), k = qkv.row_range(width, width), v = qkv.row_range(2 * width, width);
  if (stacked) {
    backend.apply(*stacked->weight, x, qkv, {stacked->bias.tensor});
  } else {
    query.forward(exec, x, q);
    key.forward(exec, x, k);
    value.forward(exec, x, v);
  }
  const Tensor context = exec.take(width, tokens);
  const Tensor log_sum_exp = saved ? exec.take(shape.heads, tokens) : Tensor{};
  backend.attention({shape.heads, shape.head_dim}, q, k, v, starts, on_scores, context, log_sum_exp);

  // What is wanted of context [D, n] and of the residual [H, n].
  const std::int64_t wanted = y.cols;
  Tensor wanted_context = context, residual = x;
  if (!only.empty()) {
    wanted_context = exec.take(width, wanted), residual = exec.take(x.rows, wanted);
    backend.gather_columns(context, only, wanted_context);
    backend.gather_columns(x, only, residual);
  }

  // attended [H, n] = LayerNorm(dropout(W_O context + b_O) + x)
  const Tensor attention_sum = exec.take(x.rows, wanted);
  project_and_add(exec, attention_output, wanted_context, on_attention, residual, attention_sum);
  const Tensor attended = saved ? exec.take(x.rows, wanted) : attention_sum;
  attention_norm.forward(exec, attention_sum, attended, saved ? &saved->attention_norm : nullptr);

  // Feed-forward: ffn_active [F, n] = activation(W_1 attended + b_1)
  const Tensor ffn_sum = exec.take(shape.ffn, wanted);
  const Tensor ffn_active = saved ? exec.take(shape.ffn, wanted) : ffn_sum;
  if (saved) {  // backward needs the sum
    ffn_in.forward_without_bias(exec, attended, ffn_sum);
    backend.bias_activation(ffn_sum, ffn_in.bias_tensor(), activation, ffn_active);
  } else {
    ffn_in.forward(exec, attended, ffn_active, activation);
  }

  // y [H, n] = LayerNorm(dropout(W_2 ffn_active + b_2) + attended)
  const Tensor output_sum = saved ? exec.take(x.rows, wanted) : y;
  project_and_add(exec, ffn_out, ffn_active, on_output, attended, output_sum);
  output_norm.forward(exec, output_sum, y, saved ? &saved->output_norm : nullptr);

  if (!saved) {
    exec.arena.rewind(mark);
    return;
  }
  saved->x = x;
  saved->q = q, saved->k = k, saved->v = v;
  saved->context = context, saved->log_sum_exp = log_sum_exp;
  saved->only = only, saved->wanted_context = wanted_context;
  saved->attention_dropout = on_scores, saved->attention_output_dropout = on_attention,
  saved->output_dropout = on_output;
  saved->attended = attended, saved->ffn_sum = ffn_sum, saved->ffn_active = ffn_active;
}

// dy [H, n] (used up) -> dx [H, T]
void EncoderLayer::backward(Exec& exec, const Saved& saved, Tensor starts, Tensor dy, Tensor dx, int index) {
  Backend& backend = exec.backend;
  const std::int64_t tokens = saved.x.cols, wanted = dy.cols, width = shape.heads * shape.head_dim;
  const Arena::Mark mark = exec.arena.mark();

  // Second residual: dy becomes the gradient of output_sum; it reaches `attended` directly and through W_2.
  output_norm.backward(exec, saved.output_norm, dy, dy);
  const Tensor branch = exec.take(dy.rows, wanted);
  const auto into_branch = [&](Dropout dropout, Tensor gradient) {
    if (!dropout.active()) return gradient;
    backend.dropout(gradient, dropout, branch);
    return branch;
  };
  const Tensor dffn = exec.take(shape.ffn, wanted), dattended = exec.take(dy.rows, wanted);
  ffn_out.backward(exec, saved.ffn_active, into_branch(saved.output_dropout, dy), dffn);
  backend.activation_grad(saved.ffn_sum, activation, dffn, dffn);
  ffn_in.backward(exec, saved.attended, dffn, dattended);
  backend.add(dy, dattended);

  // First residual: dattended becomes the gradient of attention_sum.
  attention_norm.backward(exec, saved.attention_norm, dattended, dattended);
  const Tensor dwanted = exec.take(width, wanted);
  attention_output.backward(exec, saved.wanted_context, into_branch(saved.attention_output_dropout, dattended),
                            dwanted);

  // Back to all tokens: those that were not wanted have a gradient of 0.
  const auto to_all = [&](Tensor gradient) {
    if (saved.only.empty()) return gradient;
    const Tensor all = exec.take(gradient.rows, tokens);
    backend.gather_columns_grad(gradient, saved.only, all);
    return all;
  };
  const Tensor dcontext = to_all(dwanted), dresidual = to_all(dattended);
  if (exec.probe) (*exec.probe)(index, saved.context, dcontext);
  const Tensor dq = exec.take(width, tokens), dk = exec.take(width, tokens), dv = exec.take(width, tokens);
  backend.attention_grad({shape.heads, shape.head_dim}, saved.q, saved.k, saved.v, starts, saved.attention_dropout,
                         saved.context, saved.log_sum_exp, dcontext, dq, dk, dv);
  query.backward(exec, saved.x, dq, dx);
  key.backward(exec, saved.x, dk, dx, Write::add);
  value.backward(exec, saved.x, dv, dx, Write::add);
  backend.add(dresidual, dx);
  exec.arena.rewind(mark);
}

void EncoderLayer::visit(const std::string& path, const Visit& parameter) {
  query.visit(path + ".attention.self.query", parameter);
  key.visit(path + ".attention.self.key", parameter);
  value.visit(path + ".attention.self.value", parameter);
  attention_output.visit(path + ".attention.output.dense", parameter);
  attention_norm.visit(path + ".attention.output.LayerNorm", parameter);
  ffn_in.visit(path + ".intermediate.dense", parameter);
  ffn_out.visit(path + ".output.dense", parameter);
  output_norm.visit(path + ".output.LayerNorm", parameter);
}

void EncoderLayer::visit_linears(const std::string& path,
                                 const std::function<void(const std::string& path, Linear&)>& linear) {
  linear(path + ".attention.self.query", query);
  linear(path + ".attention.self.key", key);
  linear(path + ".attention.self.value", value);
  linear(path + ".attention.output.dense", attention_output);
  linear(path + ".intermediate.dense", ffn_in);
  linear(path + ".output.dense", ffn_out);
}

}  // namespace bertx
