#include "bertx/layers.h"

namespace bertx {

// ids, types [1, T] -> x [H, T]
void Embeddings::forward(Exec& exec, Tensor ids, Tensor types, Tensor starts, Tensor x, Saved* saved) const {
  const Dropout drop = exec.next_dropout(dropout);
  const Arena::Mark mark = exec.arena.mark();
  // Backward needs the sum before the norm; without it the norm works in place.
  const Tensor sum = saved ? exec.take(x.rows, x.cols) : x;
  exec.backend.embed(ids, types, starts, word->tensor(), position->tensor(), type->tensor(), sum);
  norm.forward(exec, sum, x, saved ? &saved->norm : nullptr);
  if (drop.active()) exec.backend.dropout(x, drop, x);
  if (saved) {
    saved->dropout = drop;
  } else {
    exec.arena.rewind(mark);
  }
}

// dx [H, T] is used up
void Embeddings::backward(Exec& exec, const Saved& saved, Tensor ids, Tensor types, Tensor starts, Tensor dx) {
  if (saved.dropout.active()) exec.backend.dropout(dx, saved.dropout, dx);
  norm.backward(exec, saved.norm, dx, dx);
  exec.backend.embed_grad(ids, types, starts, dx, word->gradient(), position->gradient(), type->gradient());
}

void Embeddings::visit(const std::string& path, const Visit& parameter) {
  parameter(path + ".word_embeddings.weight", *word);
  parameter(path + ".position_embeddings.weight", *position);
  parameter(path + ".token_type_embeddings.weight", *type);
  norm.visit(path + ".LayerNorm", parameter);
}

}  // namespace bertx
