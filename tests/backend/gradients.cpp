// The gradients of the reference backend against central differences of its forwards, and the proof that each check
// fails when the gradient is wrong by 2 % in one element. The function is Σ R * Y with random R, so that dY = R.
#include "planted.h"
#include "scene.h"

namespace bertx::test {
namespace {

using Verdict = testing::AssertionResult;

struct Check {
  std::string gradient;  ///< the output that it is about, as Planted names it
  std::function<Verdict(Backend&)> run;
};

// Σ r * y, both [m, n]
double weighted(Tensor r, Tensor y) {
  double sum = 0;
  for (std::int64_t i = 0; i < y.rows; ++i) {
    for (std::int64_t j = 0; j < y.cols; ++j) {
      sum += r.as<double>()[i * r.stride + j] * y.as<double>()[i * y.stride + j];
    }
  }
  return sum;
}

Verdict both(const Verdict& a, const Verdict& b) { return a ? b : a; }

// ---- products: the gradient of a product is two products -----------------------------------------------------------

Verdict gemm_gradient(Backend& backend, bool ta, bool tb) {
  Scene s(backend, 1, 10);
  const std::int64_t m = 4, n = 5, k = 3;
  const auto trans = [](bool yes) { return yes ? Trans::yes : Trans::no; };
  const Tensor a = ta ? s.matrix(k, m) : s.matrix(m, k), b = tb ? s.matrix(n, k) : s.matrix(k, n);
  const Tensor c = s.output(m, n), r = s.matrix(m, n);
  const Tensor da = s.output(a.rows, a.cols), db = s.zeros(b.rows, b.cols);
  const auto function = [&] {
    double sum = 0;  // a product written apart from the backend's
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        for (std::int64_t p = 0; p < k; ++p) {
          sum += r.as<double>()[i * r.stride + j] * a.as<double>()[ta ? p * a.stride + i : i * a.stride + p] *
                 b.as<double>()[tb ? j * b.stride + p : p * b.stride + j];
        }
      }
    }
    return sum;
  };
  // dop(A) = R op(B)ᵀ, dop(B) = op(A)ᵀ R; transposed where the operand is
  if (ta) {
    backend.gemm(trans(tb), Trans::yes, b, r, da, Write::overwrite);
  } else {
    backend.gemm(Trans::no, trans(!tb), r, b, da, Write::overwrite);
  }
  if (tb) {
    backend.gemm(Trans::yes, trans(ta), r, a, db, Write::add);
  } else {
    backend.gemm(trans(!ta), Trans::no, a, r, db, Write::add);
  }
  backend.gemm(trans(ta), trans(tb), a, b, c, Write::overwrite);
  const double by_backend = weighted(r, c);
  if (std::abs(by_backend - function()) > 1e-12) {
    return testing::AssertionFailure() << "product " << by_backend << ", expected " << function();
  }
  return both(gradient_agrees(function, a, da), gradient_agrees(function, b, db));
}

Verdict spmm_gradient(Backend& backend, bool of_values) {
  Scene s(backend, 2, 10);
  const CsrPattern w = s.pattern(6, 7, 0.4);
  const Tensor values = s.contiguous(1, w.nnz), x = s.matrix(7, 5), y = s.output(6, 5), r = s.matrix(6, 5);
  const auto function = [&] {
    backend.spmm(w, values, x, y);
    return weighted(r, y);
  };
  if (of_values) {
    const Tensor dvalues = s.zeros(1, w.nnz);
    backend.sddmm(w, r, x, dvalues);
    return gradient_agrees(function, values, dvalues);
  }
  const Tensor dx = s.output(7, 5);
  backend.spmm_transposed(w, values, r, dx, Write::overwrite);
  return gradient_agrees(function, x, dx);
}

// ---- elementwise ---------------------------------------------------------------------------------------------------

Verdict activation_gradient(Backend& backend, Activation activation, bool of_bias) {
  Scene s(backend, 3, 10);
  const Tensor x = s.matrix(6, 7, 2), bias = s.vector(6), sum = s.output(6, 7), y = s.output(6, 7), r = s.matrix(6, 7);
  const auto function = [&] {
    backend.copy(x, sum);
    backend.bias_activation(sum, bias, activation, y);
    return weighted(r, y);
  };
  function();
  const Tensor dx = s.output(6, 7), dbias = s.zeros(6, 1);
  backend.activation_grad(sum, activation, r, dx);
  backend.bias_grad(dx, dbias);
  return of_bias ? gradient_agrees(function, bias, dbias) : gradient_agrees(function, x, dx);
}

Verdict dropout_gradient(Backend& backend) {
  Scene s(backend, 4, 10);
  const Dropout dropout{0.4f, 99};
  const Tensor y = s.matrix(6, 7), bias = s.vector(6), residual = s.matrix(6, 7), r = s.matrix(6, 7);
  const Tensor work = s.output(6, 7), dy = s.output(6, 7), dbias = s.zeros(6, 1);
  const auto function = [&] {
    backend.copy(y, work);
    backend.bias_dropout_residual(work, bias, dropout, residual);
    return weighted(r, work);
  };
  backend.dropout(r, dropout, dy);
  backend.bias_grad(dy, dbias);
  return both(both(gradient_agrees(function, y, dy), gradient_agrees(function, bias, dbias)),
              gradient_agrees(function, residual, r));
}

Verdict layer_norm_gradient(Backend& backend, int which) {
  Scene s(backend, 5, 10);
  const Tensor x = s.matrix(6, 7, 2), gamma = s.vector(6), beta = s.vector(6), y = s.output(6, 7), r = s.matrix(6, 7);
  const Tensor mean = s.output(1, 7), rstd = s.output(1, 7);
  const auto function = [&] {
    backend.layer_norm(x, gamma, beta, 1e-3, y, mean, rstd);
    return weighted(r, y);
  };
  function();
  const Tensor dx = s.output(6, 7), dgamma = s.zeros(6, 1), dbeta = s.zeros(6, 1);
  backend.layer_norm_grad(x, gamma, mean, rstd, r, dx, dgamma, dbeta);
  const Tensor values[] = {x, gamma, beta}, gradients[] = {dx, dgamma, dbeta};
  return gradient_agrees(function, values[which], gradients[which]);
}

// ---- attention -----------------------------------------------------------------------------------------------------

Verdict attention_gradient(Backend& backend, Dropout dropout, int which) {
  Scene s(backend, 6, 10);
  const AttentionShape shape{2, 3};
  const std::int64_t tokens = 11;
  const Tensor starts = s.indices({0, 5, 5, 6, 11});  // five tokens, none, one, five
  const Tensor q = s.matrix(6, tokens), k = s.matrix(6, tokens), v = s.matrix(6, tokens), r = s.matrix(6, tokens);
  const Tensor context = s.output(6, tokens), log_sum_exp = s.output(2, tokens);
  const auto function = [&] {
    backend.attention(shape, q, k, v, starts, dropout, context, log_sum_exp);
    return weighted(r, context);
  };
  function();
  const Tensor dq = s.output(6, tokens), dk = s.output(6, tokens), dv = s.output(6, tokens);
  backend.attention_grad(shape, q, k, v, starts, dropout, context, log_sum_exp, r, dq, dk, dv);
  const Tensor values[] = {q, k, v}, gradients[] = {dq, dk, dv};
  return gradient_agrees(function, values[which], gradients[which]);
}

// The gradient of a gate on each head of each example is segment_dot(context, dcontext).
Verdict gate_gradient(Backend& backend) {
  Scene s(backend, 7, 10);
  const Tensor starts = s.indices({0, 4, 5, 9}), context = s.matrix(6, 9), r = s.matrix(6, 9);
  const Tensor gate = s.contiguous(2, 3), dgate = s.output(2, 3);
  const auto function = [&] {
    double sum = 0;
    for (std::int64_t i = 0; i < 6; ++i) {
      for (std::int64_t t = 0; t < 9; ++t) {
        const std::int64_t example = t < 4 ? 0 : t < 5 ? 1 : 2;
        sum += gate.as<double>()[i / 3 * gate.stride + example] * context.as<double>()[i * context.stride + t] *
               r.as<double>()[i * r.stride + t];
      }
    }
    return sum;
  };
  backend.segment_dot(context, r, starts, dgate);
  return gradient_agrees(function, gate, dgate);
}

// ---- embeddings and columns ----------------------------------------------------------------------------------------

Verdict embedding_gradient(Backend& backend, int which) {
  Scene s(backend, 8, 10);
  const Tensor ids = s.indices({3, 1, 3, 0, 4, 3}), types = s.indices({0, 0, 1, 0, 1, 1}),
               starts = s.indices({0, 4, 6});
  const Tensor word = s.contiguous(6, 5), position = s.contiguous(8, 5), type = s.contiguous(2, 5);
  const Tensor x = s.output(5, 6), r = s.matrix(5, 6);
  const auto function = [&] {
    backend.embed(ids, types, starts, word, position, type, x);
    return weighted(r, x);
  };
  const Tensor dword = s.zeros(6, 5), dposition = s.zeros(8, 5), dtype = s.zeros(2, 5);
  backend.embed_grad(ids, types, starts, r, dword, dposition, dtype);
  const Tensor values[] = {word, position, type}, gradients[] = {dword, dposition, dtype};
  return gradient_agrees(function, values[which], gradients[which]);
}

Verdict gather_gradient(Backend& backend) {
  Scene s(backend, 9, 10);
  const Tensor x = s.matrix(5, 6), index = s.indices({2, 0, 2, 5}), y = s.output(5, 4), r = s.matrix(5, 4);
  const auto function = [&] {
    backend.gather_columns(x, index, y);
    return weighted(r, y);
  };
  const Tensor dx = s.output(5, 6);
  backend.gather_columns_grad(r, index, dx);
  return gradient_agrees(function, x, dx);
}

// ---- losses ---------------------------------------------------------------------------------------------------------

using Loss = double (*)(Backend& backend, Scene& s, Tensor logits, double scale, Tensor dlogits);

double cross_entropy(Backend& backend, Scene& s, Tensor logits, double scale, Tensor dlogits) {
  return backend.cross_entropy(logits, s.indices({1, -100, 3, 0, 0, -100, 2}), scale, dlogits);
}
double span_cross_entropy(Backend& backend, Scene& s, Tensor logits, double scale, Tensor dlogits) {
  // The second of the starts lies outside of its sequence, the third sequence has no token.
  return backend.span_cross_entropy(logits, s.indices({0, 3, 4, 4, 7}), s.indices({1, 1, 0, 2, 2, 0, -100, 0}), scale,
                                    dlogits);
}
double mean_squared_error(Backend& backend, Scene& s, Tensor logits, double scale, Tensor dlogits) {
  RandomSource random(10);
  const Storage targets = random_matrix(s.backend, random, logits.rows, logits.cols);
  return backend.mean_squared_error(logits, targets.tensor, scale, dlogits);
}
double binary_cross_entropy(Backend& backend, Scene& s, Tensor logits, double scale, Tensor dlogits) {
  RandomSource random(11);
  std::vector<double> values;
  for (std::int64_t i = 0; i < logits.size(); ++i) values.push_back(random.chance(0.5) ? 1 : 0);
  return backend.binary_cross_entropy(logits, make_matrix(s.backend, logits.rows, logits.cols, values).tensor, scale,
                                      dlogits);
}
double softened_divergence(Backend& backend, Scene& s, Tensor logits, double scale, Tensor dlogits) {
  RandomSource random(15);
  const Storage targets = random_matrix(s.backend, random, logits.rows, logits.cols, 2);
  return backend.softened_divergence(logits, targets.tensor, 3, scale, dlogits);
}
double cosine_distance(Backend& backend, Scene& s, Tensor x, double scale, Tensor dx) {
  RandomSource random(16);
  const Storage targets = random_matrix(s.backend, random, x.rows, x.cols);
  return backend.cosine_distance(x, targets.tensor, scale, dx);
}

Verdict relation_gradient(Backend& backend, Comparison comparison, bool of_keys) {
  Scene s(backend, 17, 10);
  const Tensor starts = s.indices({0, 4, 4, 5, 9});
  const Tensor a = s.matrix(6, 9), b = s.matrix(6, 9), teacher_a = s.matrix(10, 9), teacher_b = s.matrix(10, 9);
  const Tensor da = s.zeros(6, 9), db = s.zeros(6, 9);
  const auto value = [&](double scale, Tensor to_a, Tensor to_b) {
    return backend.relation_distance(comparison, 2, a, b, teacher_a, teacher_b, starts, scale, to_a, to_b);
  };
  value(0.7, da, db);
  return gradient_agrees([&] { return 0.7 * value(1, {}, {}); }, of_keys ? b : a, of_keys ? db : da);
}
// Values with themselves: what comes to a and to b lands in one gradient.
Verdict self_relation_gradient(Backend& backend) {
  Scene s(backend, 18, 10);
  const Tensor starts = s.indices({0, 4, 9}), v = s.matrix(6, 9), teacher = s.matrix(4, 9), dv = s.zeros(6, 9);
  const auto value = [&](double scale, Tensor to) {
    return backend.relation_distance(Comparison::distributions, 2, v, v, teacher, teacher, starts, scale, to, to);
  };
  value(1, dv);
  return gradient_agrees([&] { return value(1, {}); }, v, dv);
}

Verdict loss_gradient(Backend& backend, Loss loss, std::int64_t rows) {
  constexpr double kScale = 0.7;
  Scene s(backend, 12, 10);
  const Tensor logits = s.matrix(rows, 7, 2), dlogits = s.output(rows, 7);
  loss(backend, s, logits, kScale, dlogits);
  return gradient_agrees([&] { return kScale * loss(backend, s, logits, 1, {}); }, logits, dlogits);
}

// ---- masks ----------------------------------------------------------------------------------------------------------

// dw is the gradient of Σ R * (W * mask); the straight-through gradient of the scores is that of Σ R * W * S.
Verdict mask_gradient(Backend& backend, bool of_scores) {
  Scene s(backend, 13, 10);
  const Tensor w = s.matrix(5, 6), mask = s.mask(5, 6, 0.6), scores = s.matrix(5, 6), r = s.matrix(5, 6);
  const Tensor masked = s.output(5, 6), dw = s.zeros(5, 6), dscores = s.zeros(5, 6);
  backend.mask_grad(r, w, mask, dw, dscores);
  if (!of_scores) {
    return gradient_agrees(
        [&] {
          backend.mask_apply(w, mask, masked);
          return weighted(r, masked);
        },
        w, dw);
  }
  return gradient_agrees(
      [&] {
        double sum = 0;
        for (std::int64_t i = 0; i < 5; ++i) {
          for (std::int64_t j = 0; j < 6; ++j) {
            sum += r.as<double>()[i * r.stride + j] * w.as<double>()[i * w.stride + j] *
                   scores.as<double>()[i * scores.stride + j];
          }
        }
        return sum;
      },
      scores, dscores);
}

Verdict penalty_gradient(Backend& backend) {
  Scene s(backend, 14, 10);
  const Tensor scores = s.matrix(5, 6, 2), dscores = s.zeros(5, 6), unused = s.zeros(5, 6);
  backend.sigmoid_penalty(scores, 0.7, dscores);
  return gradient_agrees([&] { return 0.7 * backend.sigmoid_penalty(scores, 0, unused); }, scores, dscores);
}

std::vector<Check> checks() {
  std::vector<Check> all;
  const auto add = [&](const char* gradient, std::function<Verdict(Backend&)> run) { all.push_back({gradient, run}); };
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) add("gemm: C", [=](Backend& b) { return gemm_gradient(b, ta, tb); });
  }
  add("spmm_transposed: dX", [](Backend& b) { return spmm_gradient(b, false); });
  add("sddmm: dvalues", [](Backend& b) { return spmm_gradient(b, true); });
  for (const Activation activation :
       {Activation::none, Activation::gelu_erf, Activation::gelu_tanh, Activation::relu, Activation::tanh}) {
    add("activation_grad: dX", [=](Backend& b) { return activation_gradient(b, activation, false); });
    add("bias_grad: dbias", [=](Backend& b) { return activation_gradient(b, activation, true); });
  }
  add("dropout: Y", dropout_gradient);
  const char* layer_norm[] = {"layer_norm_grad: dX", "layer_norm_grad: dgamma", "layer_norm_grad: dbeta"};
  const char* attention[] = {"attention_grad: dq", "attention_grad: dk", "attention_grad: dv"};
  const char* embedding[] = {"embed_grad: dword", "embed_grad: dposition", "embed_grad: dtype"};
  for (int i = 0; i < 3; ++i) {
    add(layer_norm[i], [=](Backend& b) { return layer_norm_gradient(b, i); });
    add(attention[i], [=](Backend& b) { return attention_gradient(b, {}, i); });
    add(attention[i], [=](Backend& b) { return attention_gradient(b, {0.3f, 1234}, i); });
    add(embedding[i], [=](Backend& b) { return embedding_gradient(b, i); });
  }
  add("segment_dot: out", gate_gradient);
  add("gather_columns_grad: dX", gather_gradient);
  add("cross_entropy: dlogits", [](Backend& b) { return loss_gradient(b, cross_entropy, 4); });
  add("span_cross_entropy: dlogits", [](Backend& b) { return loss_gradient(b, span_cross_entropy, 2); });
  add("mean_squared_error: dlogits", [](Backend& b) { return loss_gradient(b, mean_squared_error, 3); });
  add("binary_cross_entropy: dlogits", [](Backend& b) { return loss_gradient(b, binary_cross_entropy, 3); });
  add("softened_divergence: dlogits", [](Backend& b) { return loss_gradient(b, softened_divergence, 4); });
  add("cosine_distance: dx", [](Backend& b) { return loss_gradient(b, cosine_distance, 5); });
  for (const Comparison comparison : {Comparison::squares, Comparison::distributions}) {
    add("relation_distance: da", [=](Backend& b) { return relation_gradient(b, comparison, false); });
    add("relation_distance: db", [=](Backend& b) { return relation_gradient(b, comparison, true); });
  }
  add("relation_distance: da", self_relation_gradient);
  add("mask_grad: dw", [](Backend& b) { return mask_gradient(b, false); });
  add("mask_grad: dscores", [](Backend& b) { return mask_gradient(b, true); });
  add("sigmoid_penalty: dscores", penalty_gradient);
  return all;
}

TEST(Gradients, AgreeWithCentralDifferences) {
  const auto backend = make_reference_backend();
  for (const Check& check : checks()) EXPECT_TRUE(check.run(*backend)) << check.gradient;
}

TEST(Gradients, AWrongGradientIsNoticed) {
  for (const Check& check : checks()) {
    int hits = 0;
    Planted backend(make_reference_backend(), check.gradient, &hits);
    EXPECT_FALSE(check.run(backend)) << check.gradient;
    EXPECT_GT(hits, 0) << check.gradient;
  }
}

TEST(Gradients, AZeroGradientIsMistrusted) {
  const auto backend = make_reference_backend();
  const Storage x = make_storage(*backend, 5, 5, DType::f64), zero = make_storage(*backend, 5, 5, DType::f64);
  const auto constant = [] { return 1.0; };
  EXPECT_FALSE(gradient_agrees(constant, x.tensor, zero.tensor));
  EXPECT_TRUE(gradient_agrees(constant, x.tensor, zero.tensor, {.least_nonzero = 0}));
}

}  // namespace
}  // namespace bertx::test
