#include "bertx/layers.h"

namespace bertx {
namespace {

// ids, types [1, T] -> sum [H, T]
void add_up(Exec& exec, const Embeddings& e, Tensor ids, Tensor types, Tensor starts, Tensor sum) {
  if (!e.projection) {
    exec.backend.embed(ids, types, starts, e.word->tensor(), e.position->tensor(), e.type->tensor(), sum);
    return;
  }
  const Tensor projection = e.projection->tensor();
  const Arena::Mark mark = exec.arena.mark();
  const Tensor inner = exec.take(projection.rows, sum.cols);  // [E, T]
  exec.backend.embed(ids, types, starts, e.word->tensor(), {}, {}, inner);
  exec.backend.embed(ids, types, starts, {}, e.position->tensor(), e.type->tensor(), sum);
  exec.backend.gemm(Trans::yes, Trans::no, projection, inner, sum, Write::add);
  exec.arena.rewind(mark);
}

// dsum [H, T]. The rows of the words are gathered again rather than kept.
void add_up_grad(Exec& exec, Embeddings& e, Tensor ids, Tensor types, Tensor starts, Tensor dsum) {
  const Tensor dposition = e.position->gradient(), dtype = e.type->gradient();
  if (!e.projection) {
    exec.backend.embed_grad(ids, types, starts, dsum, e.word->gradient(), dposition, dtype);
    return;
  }
  const Tensor projection = e.projection->tensor();
  const Arena::Mark mark = exec.arena.mark();
  const Tensor inner = exec.take(projection.rows, dsum.cols);  // [E, T]
  if (!e.projection->gradient().empty()) {
    exec.backend.embed(ids, types, starts, e.word->tensor(), {}, {}, inner);
    exec.backend.gemm(Trans::no, Trans::yes, inner, dsum, e.projection->gradient(), Write::add);
  }
  if (!e.word->gradient().empty()) {
    exec.backend.gemm(Trans::no, Trans::no, projection, dsum, inner, Write::overwrite);
    exec.backend.embed_grad(ids, types, starts, inner, e.word->gradient(), {}, {});
  }
  exec.backend.embed_grad(ids, types, starts, dsum, {}, dposition, dtype);
  exec.arena.rewind(mark);
}

}  // namespace

// ids, types [1, T] -> x [H, T]
void Embeddings::forward(Exec& exec, Tensor ids, Tensor types, Tensor starts, Tensor x, Saved* saved) const {
  const Dropout drop = exec.next_dropout(dropout);
  const Arena::Mark mark = exec.arena.mark();
  // Backward needs the sum before the norm; without it the norm works in place.
  const Tensor sum = saved ? exec.take(x.rows, x.cols) : x;
  add_up(exec, *this, ids, types, starts, sum);
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
  add_up_grad(exec, *this, ids, types, starts, dx);
}

void Embeddings::visit(const std::string& path, const Visit& parameter) {
  parameter(path + (projection ? ".word_embeddings.weight.u" : ".word_embeddings.weight"), *word);
  if (projection) parameter(path + ".word_embeddings.weight.v", *projection);
  parameter(path + ".position_embeddings.weight", *position);
  parameter(path + ".token_type_embeddings.weight", *type);
  norm.visit(path + ".LayerNorm", parameter);
}

}  // namespace bertx
