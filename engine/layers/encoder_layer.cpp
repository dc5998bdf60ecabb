#include "bertx/layers.h"

namespace bertx {
namespace {

/// y [F, T] = dropout(W x + b) + residual
void project_and_add(Exec& exec, const Linear& linear, Tensor x, Dropout dropout, Tensor residual, Tensor y) {
  if (!dropout.active()) return linear.forward(exec, x, y, Activation::none, residual);
  linear.forward_without_bias(exec, x, y);
  exec.backend.bias_dropout_residual(y, linear.bias_tensor(), dropout, residual);
}

bool rounds(const Linear& linear) { return linear.weight->takes_between_products(); }

}  // namespace

// x [H, T] -> q, k, v, each [D, T], one below the other
void EncoderLayer::project(Exec& exec, Tensor x, Tensor qkv) const {
  if (stacked) {
    exec.backend.apply(*stacked->weight, x, qkv, {stacked->bias.tensor});
    return;
  }
  const std::int64_t width = shape.heads * shape.head_dim;
  query.forward(exec, x, qkv.row_range(0, width));
  key.forward(exec, x, qkv.row_range(width, width));
  value.forward(exec, x, qkv.row_range(2 * width, width));
}

// x [H, T] -> y [H, n], n = T unless only some tokens are wanted; D = heads * head_dim
void EncoderLayer::forward(Exec& exec, Tensor x, Tensor starts, Tensor y, Saved* saved, Tensor only) const {
  if (saved && exec.recompute) return forward_keeping_input(exec, x, starts, y, saved, only);
  Backend& backend = exec.backend;
  const std::int64_t tokens = x.cols, width = shape.heads * shape.head_dim;
  const Arena::Mark mark = exec.arena.mark();
  const Dropout on_scores = exec.next_dropout(attention_dropout), on_attention = exec.next_dropout(hidden_dropout),
                on_output = exec.next_dropout(hidden_dropout);
  // Of what nobody keeps and only the product by `reader` reads, if those that give it can.
  const auto between = [&](bool given, const Linear& reader) {
    return !saved && given && rounds(reader) ? backend.between_products() : backend.real();
  };

  // Attention: q, k, v [D, T] -> context [D, T]
  const DType inner = between(stacked || (rounds(query) && rounds(key) && rounds(value)), attention_output);
  const Tensor qkv = exec.take(3 * width, tokens, inner);
  const Tensor q = qkv.row_range(0, width), k = qkv.row_range(width, width), v = qkv.row_range(2 * width, width);
  project(exec, x, qkv);
  const Tensor context = exec.take(width, tokens, inner);
  const Tensor log_sum_exp = saved ? exec.take(shape.heads, tokens) : Tensor{};
  backend.attention({shape.heads, shape.head_dim}, q, k, v, starts, on_scores, context, log_sum_exp);

  // What is wanted of context [D, n] and of the residual [H, n].
  const std::int64_t wanted = y.cols;
  Tensor wanted_context = context, residual = x;
  if (!only.empty()) {
    wanted_context = exec.take(width, wanted, inner), residual = exec.take(x.rows, wanted);
    backend.gather_columns(context, only, wanted_context);
    backend.gather_columns(x, only, residual);
  }

  // attended [H, n] = LayerNorm(dropout(W_O context + b_O) + x)
  const Tensor attention_sum = exec.take(x.rows, wanted);
  project_and_add(exec, attention_output, wanted_context, on_attention, residual, attention_sum);
  const Tensor attended = saved ? exec.take(x.rows, wanted) : attention_sum;
  attention_norm.forward(exec, attention_sum, attended, saved ? &saved->attention_norm : nullptr);

  // Feed-forward: ffn_active [F, n] = activation(W_1 attended + b_1)
  const Tensor ffn_sum = exec.take(shape.ffn, wanted, between(rounds(ffn_in), ffn_out));
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
  if (saved.input_only) return backward_from_input(exec, saved, starts, dy, dx, index);
  Backend& backend = exec.backend;
  const std::int64_t tokens = saved.x.cols, wanted = dy.cols, width = shape.heads * shape.head_dim;
  const Arena::Mark mark = exec.arena.mark();
  // dropout(gradient) into a matrix of its own: the residual takes the gradient as it is.
  const auto through = [&](Dropout dropout, Tensor gradient) {
    if (!dropout.active()) return gradient;
    const Tensor branch = exec.take(gradient.rows, gradient.cols);
    backend.dropout(gradient, dropout, branch);
    return branch;
  };

  // Second residual: dy becomes the gradient of output_sum, then by what comes through W_2 and W_1 that of `attended`.
  output_norm.backward(exec, saved.output_norm, dy, dy);
  const Tensor dffn = exec.take(shape.ffn, wanted);
  ffn_out.backward(exec, saved.ffn_active, through(saved.output_dropout, dy), dffn);
  backend.activation_grad(saved.ffn_sum, activation, dffn, dffn);
  ffn_in.backward(exec, saved.attended, dffn, dy, Write::add);
  exec.arena.rewind(mark);

  // First residual: dsum is the gradient of attention_sum. Where all tokens were wanted it lies in dx, to which the
  // rest is added.
  const Tensor dsum = saved.only.empty() ? dx : dy;
  attention_norm.backward(exec, saved.attention_norm, dy, dsum);
  Tensor dcontext = exec.take(width, wanted);
  attention_output.backward(exec, saved.wanted_context, through(saved.attention_output_dropout, dsum), dcontext);
  if (!saved.only.empty()) {  // tokens that were not wanted have a gradient of 0
    const Tensor dwanted = dcontext;
    dcontext = exec.take(width, tokens);
    backend.gather_columns_grad(dwanted, saved.only, dcontext);
    backend.gather_columns_grad(dsum, saved.only, dx);
  }

  // Attention
  if (exec.probe) (*exec.probe)(index, saved.context, dcontext);
  const Tensor dq = exec.take(width, tokens), dk = exec.take(width, tokens), dv = exec.take(width, tokens);
  backend.attention_grad({shape.heads, shape.head_dim}, saved.q, saved.k, saved.v, starts, saved.attention_dropout,
                         saved.context, saved.log_sum_exp, dcontext, dq, dk, dv);
  if (exec.tap) {
    exec.tap->attention(exec, index, {shape.heads, shape.head_dim}, saved.q, saved.k, saved.v, starts, dq, dk, dv);
  }
  query.backward(exec, saved.x, dq, dx, Write::add);
  key.backward(exec, saved.x, dk, dx, Write::add);
  value.backward(exec, saved.x, dv, dx, Write::add);
  exec.arena.rewind(mark);
}

// ---- gradient checkpointing: Chen et al. 2016 (1604.06174), a layer a segment ---------------------------------------

// All that backward needs is made, as without checkpointing, and given back: so y has the same bits.
void EncoderLayer::forward_keeping_input(Exec& exec, Tensor x, Tensor starts, Tensor y, Saved* saved,
                                         Tensor only) const {
  const Arena::Mark mark = exec.arena.mark();
  *saved = {};
  saved->x = x, saved->only = only;
  saved->input_only = true, saved->first_site = exec.next_site;
  Exec inner = exec;
  inner.recompute = false;
  Saved given_back;
  forward(inner, x, starts, y, &given_back, only);
  exec.next_site = inner.next_site;
  exec.arena.rewind(mark);
}

// Dropout is a function of seed and site, so the second forward pass draws the masks of the first.
void EncoderLayer::backward_from_input(Exec& exec, const Saved& saved, Tensor starts, Tensor dy, Tensor dx, int index) {
  const Arena::Mark mark = exec.arena.mark();
  Exec again = exec;
  again.recompute = false;
  again.next_site = saved.first_site;
  Saved all;
  forward(again, saved.x, starts, exec.take(dy.rows, dy.cols), &all, saved.only);
  backward(exec, all, starts, dy, dx, index);
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
