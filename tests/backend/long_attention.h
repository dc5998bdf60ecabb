// Attention and its gradient on one set of sequences, for tests that choose shapes the random scenes do not have.
#pragma once

#include "scene.h"

namespace bertx::test {

/// With and without dropout. On a checked backend it throws where a result is not that of the reference.
inline void run_attention(Backend& backend, AttentionShape shape, const std::vector<std::int32_t>& starts) {
  Scene s(backend, 31, 10);
  const std::int64_t rows = shape.heads * shape.head_dim, tokens = starts.back();
  const Tensor q = s.matrix(rows, tokens), k = s.matrix(rows, tokens), v = s.matrix(rows, tokens);
  const Tensor context = s.output(rows, tokens), log_sum_exp = s.output(shape.heads, tokens);
  const Tensor dcontext = s.matrix(rows, tokens), dq = s.output(rows, tokens), dk = s.output(rows, tokens),
               dv = s.output(rows, tokens), places = s.indices(starts);
  for (const Dropout dropout : {Dropout{}, Dropout{0.2f, 99}}) {
    backend.attention(shape, q, k, v, places, dropout, context, log_sum_exp);
    backend.attention_grad(shape, q, k, v, places, dropout, context, log_sum_exp, dcontext, dq, dk, dv);
    s.trust(context);
    s.trust(dq);
  }
}

}  // namespace bertx::test
