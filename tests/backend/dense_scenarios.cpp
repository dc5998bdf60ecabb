#include "scenarios.h"

namespace bertx::test {
namespace {

constexpr Activation kActivations[] = {Activation::none, Activation::gelu_erf, Activation::gelu_tanh, Activation::relu,
                                       Activation::tanh};

Activation any_activation(Scene& s) { return kActivations[s.random.integer(0, 4)]; }
Write any_write(Scene& s) { return s.random.chance(0.5) ? Write::add : Write::overwrite; }
Tensor result(Scene& s, std::int64_t rows, std::int64_t cols, Write write) {
  return write == Write::add ? s.matrix(rows, cols) : s.output(rows, cols);
}

void fill(Scene& s) {
  const Tensor x = s.output(s.size(), s.size_or_zero());
  s.backend.fill(x, s.random.normal());
  s.trust(x, 1);
}

void copy(Scene& s) {
  const Tensor from = s.matrix(s.size(), s.size_or_zero()), to = s.output(from.rows, from.cols);
  s.backend.copy(from, to);
  s.trust(to);
}

void gemm(Scene& s) {
  const std::int64_t m = s.size_or_zero(), n = s.size_or_zero(), k = s.size_or_zero();
  const bool ta = s.random.chance(0.5), tb = s.random.chance(0.5);
  const Write write = any_write(s);
  const Tensor a = ta ? s.matrix(k, m) : s.matrix(m, k), b = tb ? s.matrix(n, k) : s.matrix(k, n);
  const Tensor c = result(s, m, n, write);
  s.backend.gemm(ta ? Trans::yes : Trans::no, tb ? Trans::yes : Trans::no, a, b, c, write);
  s.trust(c, k == 0 && write == Write::overwrite ? 0 : 0.1);  // an empty sum is 0
}

void spmm(Scene& s) {
  CsrPattern w = s.pattern(s.size(), s.size(), s.random.uniform(0, 0.6));
  const Tensor values = s.contiguous(1, w.nnz), x = s.matrix(w.cols, s.size_or_zero()), y = s.output(w.rows, x.cols);
  if (s.random.chance(0.5)) w.column_start = w.row_of = w.position = {};  // forward needs no transposed index
  s.backend.spmm(w, values, x, y);
  s.trust(y, w.nnz < w.rows ? 0 : 0.1);
}

void spmm_transposed(Scene& s) {
  const CsrPattern w = s.pattern(s.size(), s.size(), s.random.uniform(0, 0.6));
  const Write write = any_write(s);
  const Tensor values = s.contiguous(1, w.nnz), dy = s.matrix(w.rows, s.size_or_zero());
  const Tensor dx = result(s, w.cols, dy.cols, write);
  s.backend.spmm_transposed(w, values, dy, dx, write);
  s.trust(dx, w.nnz < w.cols ? 0 : 0.1);
}

void sddmm(Scene& s) {
  const CsrPattern w = s.pattern(s.size(), s.size(), s.random.uniform(0, 0.6));
  const std::int64_t tokens = s.size();
  const Tensor dy = s.matrix(w.rows, tokens), x = s.matrix(w.cols, tokens), dvalues = s.contiguous(1, w.nnz);
  s.backend.sddmm(w, dy, x, dvalues);
  s.trust(dvalues);
}

// A prepared weight is applied to several numbers of tokens after what it was made from is gone.
void apply_to_tokens(Scene& s, const PreparedWeight& weight, std::int64_t rows, std::int64_t cols, double least) {
  EXPECT_FALSE(weight.kernel().empty());
  for (const std::int64_t tokens : {s.size(), std::int64_t{1}, s.size(), std::int64_t{0}}) {
    const Tensor x = s.matrix(cols, tokens), y = s.output(rows, tokens);
    const Epilogue epilogue{s.random.chance(0.6) ? s.vector(rows) : Tensor{}, any_activation(s),
                            s.random.chance(0.4) ? s.matrix(rows, tokens) : Tensor{}};
    s.backend.apply(weight, x, y, epilogue);
    s.trust(y, epilogue.activation == Activation::relu ? 0 : least);
  }
}

void apply_dense(Scene& s) {
  const Tensor w = s.matrix(s.size(), s.size());
  const auto weight = s.backend.prepare_dense(w);
  s.backend.fill(w, 0);
  if (weight) apply_to_tokens(s, *weight, w.rows, w.cols, 0.1);
}

void apply_csr(Scene& s) {
  const CsrPattern w = s.pattern(s.size(), s.size(), s.random.uniform(0, 0.6));
  const Tensor values = s.contiguous(1, w.nnz);
  const auto weight = s.backend.prepare_csr(w, values);
  s.backend.fill(values, 0);
  if (weight) apply_to_tokens(s, *weight, w.rows, w.cols, w.nnz < w.rows ? 0 : 0.1);
}

void bias_activation(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero(), 2);
  const Tensor bias = s.random.chance(0.7) ? s.vector(x.rows) : Tensor{};
  const Tensor y = s.random.chance(0.3) ? x : s.output(x.rows, x.cols);
  const Activation activation = any_activation(s);
  s.backend.bias_activation(x, bias, activation, y);
  s.trust(y, activation == Activation::relu ? 0 : 0.1);  // one row of relu may well be all 0
}

void activation_grad(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero(), 2), dy = s.matrix(x.rows, x.cols);
  const Tensor dx = s.random.chance(0.3) ? dy : s.output(x.rows, x.cols);
  const Activation activation = any_activation(s);
  s.backend.activation_grad(x, activation, dy, dx);
  s.trust(dx, activation == Activation::relu ? 0 : 0.1);
}

void bias_grad(Scene& s) {
  const Tensor dy = s.matrix(s.size(), s.size_or_zero()), dbias = s.vector(dy.rows);
  s.backend.bias_grad(dy, dbias);
  s.trust(dbias);
}

void bias_dropout_residual(Scene& s) {
  const Tensor y = s.matrix(s.size(), s.size_or_zero()), residual = s.matrix(y.rows, y.cols);
  s.backend.bias_dropout_residual(y, s.random.chance(0.7) ? s.vector(y.rows) : Tensor{}, s.dropout(), residual);
  s.trust(y);
}

void dropout(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero());
  const Tensor y = s.random.chance(0.3) ? x : s.output(x.rows, x.cols);
  s.backend.dropout(x, s.dropout(), y);
  s.trust(y, x.size() < 50 ? 0 : 0.1);
}

void add(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero()), y = s.matrix(x.rows, x.cols);
  s.backend.add(x, y);
  s.trust(y);
}

void layer_norm(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero(), 3);
  const Tensor y = s.random.chance(0.3) ? x : s.output(x.rows, x.cols);
  const Tensor mean = s.output(1, x.cols), rstd = s.output(1, x.cols);
  s.backend.layer_norm(x, s.vector(x.rows), s.vector(x.rows), x.rows < 3 ? 0.1 : 1e-12, y, mean, rstd);
  s.trust(y);
}

void layer_norm_grad(Scene& s) {
  const Tensor x = s.matrix(s.size(), s.size_or_zero(), 3), gamma = s.vector(x.rows);
  const Tensor y = s.output(x.rows, x.cols), mean = s.output(1, x.cols), rstd = s.output(1, x.cols);
  s.backend.layer_norm(x, gamma, s.vector(x.rows), x.rows < 3 ? 0.1 : 1e-12, y, mean, rstd);
  const Tensor dy = s.matrix(x.rows, x.cols), dx = s.random.chance(0.3) ? dy : s.output(x.rows, x.cols);
  const Tensor dgamma = s.random.chance(0.8) ? s.vector(x.rows) : Tensor{};
  const Tensor dbeta = s.random.chance(0.8) ? s.vector(x.rows) : Tensor{};
  s.backend.layer_norm_grad(x, gamma, mean, rstd, dy, dx, dgamma, dbeta);
  s.trust(dx, x.rows == 1 ? 0 : 0.1);  // one feature is its own mean
}

void mask_apply(Scene& s) {
  const Tensor w = s.matrix(s.size(), s.size()), out = s.output(w.rows, w.cols);
  s.backend.mask_apply(w, s.mask(w.rows, w.cols, 0.5), out);
  s.trust(out, w.size() < 50 ? 0 : 0.1);
}

void mask_grad(Scene& s) {
  const Tensor g = s.matrix(s.size(), s.size()), w = s.matrix(g.rows, g.cols), mask = s.mask(g.rows, g.cols, 0.5);
  const Tensor dw = s.random.chance(0.8) ? s.matrix(g.rows, g.cols) : Tensor{};
  const Tensor dscores = s.random.chance(0.8) ? s.matrix(g.rows, g.cols) : Tensor{};
  s.backend.mask_grad(g, w, dw.empty() && s.random.chance(0.5) ? Tensor{} : mask, dw, dscores);
  s.trust(dw);
  s.trust(dscores);
}

void sigmoid_penalty(Scene& s) {
  const Tensor scores = s.matrix(s.size(), s.size(), 3), dscores = s.matrix(scores.rows, scores.cols);
  s.backend.sigmoid_penalty(scores, s.random.normal(), dscores);
  s.trust(dscores);
}

void sum_of_squares(Scene& s) {
  std::vector<Tensor> tensors;
  for (std::int64_t i = s.random.integer(0, 4); i > 0; --i) tensors.push_back(s.matrix(s.size_or_zero(), s.size()));
  s.backend.sum_of_squares(tensors);
}

void adamw(Scene& s) {
  std::vector<AdamWItem> items;
  for (std::int64_t i = s.random.integer(1, 4); i > 0; --i) {
    const std::int64_t rows = s.size_or_zero(), cols = s.size();
    const bool moments = s.random.chance(0.8);
    items.push_back({s.contiguous(rows, cols),
                     {},
                     moments ? s.contiguous(rows, cols) : Tensor{},
                     moments ? s.zeros(rows, cols) : Tensor{},
                     s.random.chance(0.5) ? 0.01 : 0.0,
                     s.random.chance(0.5) ? 1.0 : 30.0});
  }
  AdamWStep step{.learning_rate = 1e-2, .step = 0, .bias_correction = s.random.chance(0.5)};
  step.gradient_scale = s.random.uniform(0.1, 1);
  for (int i = 0; i < 3; ++i) {
    ++step.step;
    for (AdamWItem& item : items) {
      const bool gradient = !item.first_moment.empty() && s.random.chance(0.8);
      item.gradient = gradient ? s.contiguous(item.value.rows, item.value.cols) : Tensor{};
    }
    s.backend.adamw(step, items);
  }
  for (const AdamWItem& item : items) s.trust(item.value);
}

}  // namespace

std::vector<Scenario> dense_scenarios() {
  return {{"fill", fill, {"X"}},
          {"copy", copy, {"to"}},
          {"gemm", gemm, {"C"}},
          {"spmm", spmm, {"Y"}},
          {"spmm_transposed", spmm_transposed, {"dX"}},
          {"sddmm", sddmm, {"dvalues"}},
          {"apply (dense)", apply_dense, {"Y"}},
          {"apply (csr)", apply_csr, {"Y"}},
          {"bias_activation", bias_activation, {"X", "Y"}},
          {"activation_grad", activation_grad, {"dX"}},
          {"bias_grad", bias_grad, {"dbias"}},
          {"bias_dropout_residual", bias_dropout_residual, {"Y"}},
          {"dropout", dropout, {"Y"}},
          {"add", add, {"Y"}},
          {"layer_norm", layer_norm, {"Y", "mean", "rstd"}},
          {"layer_norm_grad", layer_norm_grad, {"dX", "dgamma", "dbeta"}},
          {"mask_apply", mask_apply, {"out"}},
          {"mask_grad", mask_grad, {"dw", "dscores"}},
          {"sigmoid_penalty", sigmoid_penalty, {"dscores", "the returned number"}},
          {"sum_of_squares", sum_of_squares, {"the returned number"}},
          {"adamw", adamw, {"value", "first moment", "second moment"}}};
}

}  // namespace bertx::test
