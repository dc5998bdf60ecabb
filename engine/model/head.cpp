#include "model/head.h"

#include <cassert>

namespace bertx {
namespace {

// first [H, B] -> pooled [H, B] = tanh(W first + b)
Tensor pool(Exec& exec, const Linear& pooler, Tensor first, Head::Saved* saved) {
  const Tensor sum = exec.take(first.rows, first.cols);
  pooler.forward_without_bias(exec, first, sum);
  const Tensor pooled = saved ? exec.take(first.rows, first.cols) : sum;
  exec.backend.bias_activation(sum, pooler.bias_tensor(), Activation::tanh, pooled);
  if (saved) saved->pooled_sum = sum, saved->pooled = pooled;
  return pooled;
}

// x [H, n] -> logits [labels, n], through dropout
Tensor classify(Exec& exec, const Head& head, Tensor x, Head::Saved* saved) {
  const Dropout drop = exec.next_dropout(head.dropout);
  Tensor dropped = x;
  if (drop.active()) {
    dropped = exec.take(x.rows, x.cols);
    exec.backend.dropout(x, drop, dropped);
  }
  const Tensor logits = exec.take(head.classifier->weight->out(), x.cols);
  head.classifier->forward(exec, dropped, logits);
  if (saved) saved->dropout = drop, saved->dropped = dropped;
  return logits;
}

// hidden [H, T] -> logits [vocab, T]: dense, activation, LayerNorm, decoder
Tensor predict_tokens(Exec& exec, const Head& head, Tensor hidden, Head::Saved* saved) {
  const Tensor sum = exec.take(hidden.rows, hidden.cols), active = exec.take(hidden.rows, hidden.cols);
  head.transform->forward_without_bias(exec, hidden, sum);
  exec.backend.bias_activation(sum, head.transform->bias_tensor(), head.activation, active);
  const Tensor normed = exec.take(hidden.rows, hidden.cols);
  head.transform_norm->forward(exec, active, normed, saved ? &saved->transform_norm : nullptr);
  const Tensor logits = exec.take(head.decoder->weight->out(), hidden.cols);
  head.decoder->forward(exec, normed, logits);
  if (saved) saved->transform_sum = sum, saved->transform_active = active, saved->transform_out = normed;
  return logits;
}

}  // namespace

Tensor head_forward(Exec& exec, const Head& head, const Linear* pooler, Tensor hidden, Head::Saved* saved) {
  if (saved) saved->hidden = hidden;
  switch (head.kind) {
    case HeadKind::none: return pooler ? pool(exec, *pooler, hidden, saved) : hidden;
    case HeadKind::sequence_classification: return classify(exec, head, pool(exec, *pooler, hidden, saved), saved);
    case HeadKind::token_classification: return classify(exec, head, hidden, saved);
    case HeadKind::question_answering: {
      const Tensor logits = exec.take(head.classifier->weight->out(), hidden.cols);
      head.classifier->forward(exec, hidden, logits);
      return logits;
    }
    case HeadKind::masked_lm: return predict_tokens(exec, head, hidden, saved);
  }
  return {};
}

void head_backward(Exec& exec, Head& head, Linear* pooler, const Head::Saved& saved, Tensor dlogits, Tensor dhidden) {
  Backend& backend = exec.backend;
  const Arena::Mark mark = exec.arena.mark();
  const auto through_pooler = [&](Tensor dpooled) {  // dpooled [H, B] (used up) -> dhidden
    backend.activation_grad(saved.pooled_sum, Activation::tanh, dpooled, dpooled);
    pooler->backward(exec, saved.hidden, dpooled, dhidden);
  };
  switch (head.kind) {
    case HeadKind::none:
      if (pooler) {
        through_pooler(dlogits);
      } else {
        backend.copy(dlogits, dhidden);
      }
      break;
    case HeadKind::sequence_classification: {
      const Tensor dpooled = exec.take(saved.pooled.rows, saved.pooled.cols);
      head.classifier->backward(exec, saved.dropped, dlogits, dpooled);
      if (saved.dropout.active()) backend.dropout(dpooled, saved.dropout, dpooled);
      through_pooler(dpooled);
      break;
    }
    case HeadKind::token_classification:
      head.classifier->backward(exec, saved.dropped, dlogits, dhidden);
      if (saved.dropout.active()) backend.dropout(dhidden, saved.dropout, dhidden);
      break;
    case HeadKind::question_answering: head.classifier->backward(exec, saved.hidden, dlogits, dhidden); break;
    case HeadKind::masked_lm: {
      const Tensor d = exec.take(dhidden.rows, dhidden.cols);
      head.decoder->backward(exec, saved.transform_out, dlogits, d);
      head.transform_norm->backward(exec, saved.transform_norm, d, d);
      backend.activation_grad(saved.transform_sum, head.activation, d, d);
      head.transform->backward(exec, saved.hidden, d, dhidden);
      break;
    }
  }
  exec.arena.rewind(mark);
}

}  // namespace bertx
