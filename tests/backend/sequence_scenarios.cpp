#include "scenarios.h"

namespace bertx::test {
namespace {

struct AttentionOperands {
  AttentionShape shape;
  Tensor q, k, v, starts;
  Dropout dropout;
  std::int64_t rows = 0, tokens = 0;
};

AttentionOperands attention_operands(Scene& s) {
  constexpr std::int64_t kHeadDims[] = {1, 2, 3, 5, 7, 8, 13, 16, 24, 31, 32, 33, 48, 63, 64};
  AttentionOperands o;
  o.shape = {s.random.integer(0, 9) == 0 ? 0 : s.random.integer(1, 4), kHeadDims[s.random.integer(0, 14)]};
  const auto starts = s.starts(80);
  o.rows = o.shape.heads * o.shape.head_dim;
  o.tokens = starts.back();
  // As a model has them: rows of one stacked matrix, or three matrices.
  if (s.random.chance(0.5)) {
    const Tensor stacked = s.matrix(3 * o.rows, o.tokens);
    o.q = stacked.row_range(0, o.rows);
    o.k = stacked.row_range(o.rows, o.rows);
    o.v = stacked.row_range(2 * o.rows, o.rows);
  } else {
    o.q = s.matrix(o.rows, o.tokens);
    o.k = s.matrix(o.rows, o.tokens);
    o.v = s.matrix(o.rows, o.tokens);
  }
  o.starts = s.indices(starts);
  o.dropout = s.dropout();
  return o;
}

void attention(Scene& s) {
  const AttentionOperands o = attention_operands(s);
  const Tensor context = s.output(o.rows, o.tokens);
  const Tensor log_sum_exp = s.random.chance(0.6) ? s.output(o.shape.heads, o.tokens) : Tensor{};
  s.backend.attention(o.shape, o.q, o.k, o.v, o.starts, o.dropout, context, log_sum_exp);
  s.trust(context);
}

void attention_grad(Scene& s) {
  const AttentionOperands o = attention_operands(s);
  const Tensor context = s.output(o.rows, o.tokens), log_sum_exp = s.output(o.shape.heads, o.tokens);
  s.backend.attention(o.shape, o.q, o.k, o.v, o.starts, o.dropout, context, log_sum_exp);
  const Tensor dcontext = s.matrix(o.rows, o.tokens);
  const Tensor dq = s.output(o.rows, o.tokens), dk = s.output(o.rows, o.tokens), dv = s.output(o.rows, o.tokens);
  s.backend.attention_grad(o.shape, o.q, o.k, o.v, o.starts, o.dropout, context, log_sum_exp, dcontext, dq, dk, dv);
  s.trust(dv);
  s.trust(dq, 0);  // a sequence of one token has no gradient of scores
}

void segment_dot(Scene& s) {
  const std::int64_t groups = s.random.integer(1, 6), rows = groups * s.size(40);
  const auto starts = s.starts(200);
  const Tensor a = s.matrix(rows, starts.back()), b = s.matrix(rows, starts.back());
  const Tensor out = s.output(groups, static_cast<std::int64_t>(starts.size()) - 1);
  s.backend.segment_dot(a, b, s.indices(starts), out);
  s.trust(out, 0);  // sequences without tokens give 0
}

struct Tables {
  Tensor ids, types, starts, word, position, type;
  std::int64_t features = 0, tokens = 0;
};

Tables tables(Scene& s) {
  Tables t;
  const auto starts = s.starts(200);
  t.tokens = starts.back();
  t.features = s.size();
  const std::int64_t vocabulary = s.size(), types = s.random.integer(1, 3);
  t.ids = s.indices_below(vocabulary, t.tokens);
  t.types = s.indices_below(types, t.tokens);
  t.starts = s.indices(starts);
  t.word = s.contiguous(vocabulary, t.features);
  t.position = s.contiguous(200, t.features);
  t.type = s.contiguous(types, t.features);
  return t;
}

void embed(Scene& s) {
  const Tables t = tables(s);
  const Tensor x = s.output(t.features, t.tokens);
  const bool all = s.random.chance(0.5);  // else some tables are left out, never the words
  const Tensor position = all || s.random.chance(0.3) ? t.position : Tensor{};
  const Tensor type = all || s.random.chance(0.3) ? t.type : Tensor{};
  s.backend.embed(t.ids, t.types, t.starts, t.word, position, type, x);
  s.trust(x);
}

void embed_grad(Scene& s) {
  const Tables t = tables(s);
  const Tensor dx = s.matrix(t.features, t.tokens);
  const Tensor word = s.random.chance(0.8) ? t.word : Tensor{}, position = s.random.chance(0.8) ? t.position : Tensor{};
  const Tensor type = s.random.chance(0.8) ? t.type : Tensor{};
  s.backend.embed_grad(t.ids, t.types, t.starts, dx, word, position, type);
  s.trust(word);
}

void gather_columns(Scene& s) {
  const std::int64_t tokens = s.size(), count = s.size_or_zero();
  const Tensor x = s.matrix(s.size(), tokens), y = s.output(x.rows, count);
  s.backend.gather_columns(x, s.indices_below(tokens, count), y);
  s.trust(y);
}

void gather_columns_grad(Scene& s) {
  const std::int64_t tokens = s.size(), count = s.size_or_zero();
  const Tensor dy = s.matrix(s.size(), count), dx = s.output(dy.rows, tokens);
  s.backend.gather_columns_grad(dy, s.indices_below(tokens, count), dx);
  s.trust(dx, 10 * count < 2 * tokens ? 0 : 0.1);  // what was not gathered is 0
}

double any_scale(Scene& s) { return s.random.chance(0.5) ? 1.0 : s.random.uniform(0.1, 1); }

void cross_entropy(Scene& s) {
  const Tensor logits = s.matrix(s.size(), s.size_or_zero(), 3);
  const Tensor dlogits = s.random.chance(0.7) ? s.output(logits.rows, logits.cols) : Tensor{};
  std::vector<std::int32_t> labels;
  const double ignored = s.random.chance(0.5) ? 0.0 : s.random.uniform();
  for (std::int64_t n = 0; n < logits.cols; ++n) {
    labels.push_back(s.random.chance(ignored) ? -100 : static_cast<std::int32_t>(s.random.integer(0, logits.rows - 1)));
  }
  s.backend.cross_entropy(logits, s.indices(labels), any_scale(s), dlogits);
  s.trust(dlogits, ignored > 0 || logits.rows == 1 ? 0 : 0.1);
}

void span_cross_entropy(Scene& s) {
  const auto starts = s.starts(200);
  const Tensor logits = s.matrix(2, starts.back(), 3);
  const Tensor dlogits = s.random.chance(0.7) ? s.output(2, starts.back()) : Tensor{};
  std::vector<std::int32_t> labels;
  for (int side = 0; side < 2; ++side) {
    for (std::size_t b = 0; b + 1 < starts.size(); ++b) {
      const std::int32_t length = starts[b + 1] - starts[b];
      labels.push_back(s.random.chance(0.15) ? (s.random.chance(0.5) ? -100 : length)
                                             : static_cast<std::int32_t>(s.random.integer(0, length)));
    }
  }
  s.backend.span_cross_entropy(logits, s.indices(starts), s.indices(labels), any_scale(s), dlogits);
}

void mean_squared_error(Scene& s) {
  const Tensor logits = s.matrix(s.size(), s.size(), 3), targets = s.matrix(logits.rows, logits.cols);
  const Tensor dlogits = s.random.chance(0.7) ? s.output(logits.rows, logits.cols) : Tensor{};
  s.backend.mean_squared_error(logits, targets, any_scale(s), dlogits);
  s.trust(dlogits);
}

void binary_cross_entropy(Scene& s) {
  const Tensor logits = s.matrix(s.size(), s.size(), 3), targets = s.output(logits.rows, logits.cols);
  s.backend.mask_apply(s.matrix(logits.rows, logits.cols), s.mask(logits.rows, logits.cols, 0.5), targets);
  const Tensor dlogits = s.random.chance(0.7) ? s.output(logits.rows, logits.cols) : Tensor{};
  s.backend.binary_cross_entropy(logits, targets, any_scale(s), dlogits);
  s.trust(dlogits);
}

void softened_divergence(Scene& s) {
  const Tensor logits = s.matrix(s.size(), s.size_or_zero(), 3), targets = s.matrix(logits.rows, logits.cols, 3);
  const Tensor dlogits = s.random.chance(0.7) ? s.output(logits.rows, logits.cols) : Tensor{};
  s.backend.softened_divergence(logits, targets, s.random.uniform(0.5, 5), any_scale(s), dlogits);
  s.trust(dlogits, logits.rows == 1 ? 0 : 0.1);
}

void cosine_distance(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero()), targets = s.matrix(x.rows, x.cols);
  const Tensor dx = s.random.chance(0.7) ? s.output(x.rows, x.cols) : Tensor{};
  s.backend.cosine_distance(x, targets, any_scale(s), dx);
  s.trust(dx, x.rows == 1 ? 0 : 0.1);  // in one dimension there are two directions
}

// As distillation calls it: queries and keys, or values with themselves; of a teacher of another width.
void relation_distance(Scene& s) {
  const AttentionOperands o = attention_operands(s);
  const std::int64_t teacher_rows = o.shape.heads * s.random.integer(1, 70);
  const bool itself = s.random.chance(0.3);
  const Tensor a = o.q, b = itself ? o.q : o.k, teacher_a = s.matrix(teacher_rows, o.tokens),
               teacher_b = itself ? teacher_a : s.matrix(teacher_rows, o.tokens);
  const bool gradients = s.random.chance(0.8);
  const Tensor da = gradients ? s.matrix(o.rows, o.tokens, 0.01) : Tensor{};
  const Tensor db = gradients && !itself ? s.matrix(o.rows, o.tokens, 0.01) : da;
  s.backend.relation_distance(s.random.chance(0.5) ? Comparison::squares : Comparison::distributions, o.shape.heads, a,
                              b, teacher_a, teacher_b, o.starts, any_scale(s), da, db);
  s.trust(da);
}

}  // namespace

std::vector<Scenario> sequence_scenarios() {
  return {{"attention", attention, {"context", "log_sum_exp"}},
          {"attention_grad", attention_grad, {"dq", "dk", "dv"}},
          {"segment_dot", segment_dot, {"out"}},
          {"embed", embed, {"X"}},
          {"embed_grad", embed_grad, {"dword", "dposition", "dtype"}},
          {"gather_columns", gather_columns, {"Y"}},
          {"gather_columns_grad", gather_columns_grad, {"dX"}},
          {"cross_entropy", cross_entropy, {"dlogits", "the returned number"}},
          {"span_cross_entropy", span_cross_entropy, {"dlogits", "the returned number"}},
          {"mean_squared_error", mean_squared_error, {"dlogits", "the returned number"}},
          {"binary_cross_entropy", binary_cross_entropy, {"dlogits", "the returned number"}},
          {"softened_divergence", softened_divergence, {"dlogits", "the returned number"}},
          {"cosine_distance", cosine_distance, {"dx", "the returned number"}},
          {"relation_distance", relation_distance, {"da", "db", "the returned number"}}};
}

}  // namespace bertx::test
