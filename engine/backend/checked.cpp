// The checked backend: runs every operation on two backends and compares the results, on live work.
#include <cmath>
#include <vector>

#include "backend/checked_call.h"

namespace bertx {
namespace {

using checked::Call, checked::column_norm, checked::csr_norm, checked::max_abs, checked::root, checked::row_norm;
using checked::CheckedWeight, checked::classified, checked::dropout_scale, checked::largest_score,
    checked::least_column_norm;

class CheckedBackend final : public Backend {
 public:
  CheckedBackend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> oracle)
      : fast_(std::move(fast)), oracle_(std::move(oracle)) {
    if (!oracle_->host_memory() || oracle_->real() != DType::f64) {
      fail(ErrorKind::usage, "the checked backend needs an oracle in double on the host; found ", oracle_->name());
    }
  }

  std::string_view name() const override { return fast_->name(); }
  DType real() const override { return fast_->real(); }
  DType products() const override { return fast_->products(); }
  bool tf32() const override { return fast_->tf32(); }
  DType attention_products() const override { return fast_->attention_products(); }
  DType between_products() const override { return fast_->between_products(); }
  std::string description() const override { return text(fast_->description(), "; checked by ", oracle_->name()); }

  Buffer allocate(std::size_t bytes) override { return fast_->allocate(bytes); }
  bool host_memory() const override { return fast_->host_memory(); }
  void upload(Tensor host, Tensor device) override { fast_->upload(host, device); }
  void download(Tensor device, Tensor host) override { fast_->download(device, host); }
  void fill(Tensor x, double value) override {
    Call m = call("fill");
    oracle_->fill(m(x), value);
    fast_->fill(x, value);
    m.compare("X", x, 1, std::abs(value));
  }
  void copy(Tensor from, Tensor to) override {
    Call m = call("copy");
    oracle_->copy(m(from), m(to));
    fast_->copy(from, to);
    m.compare("to", to, 1, 0);
  }

  void gemm(Trans ta, Trans tb, Tensor a, Tensor b, Tensor c, Write write) override {
    Call m = call("gemm");
    const double before = write == Write::add ? max_abs(m(c)) : 0;
    const double norm_a = ta == Trans::no ? row_norm(m(a)) : column_norm(m(a));
    const double norm_b = tb == Trans::no ? column_norm(m(b)) : row_norm(m(b));
    oracle_->gemm(ta, tb, m(a), m(b), m(c), write);
    fast_->gemm(ta, tb, a, b, c, write);
    m.compare_product("C", c, ta == Trans::no ? a.cols : a.rows, norm_a * norm_b + before,
                      rounded_to(fast_->products()));
  }
  void spmm(const CsrPattern& w, Tensor values, Tensor x, Tensor y) override {
    Call m = call("spmm");
    const CsrPattern mirror = m(w);
    const double magnitude = csr_norm(mirror, m(values), false) * column_norm(m(x));
    oracle_->spmm(mirror, m(values), m(x), m(y));
    fast_->spmm(w, values, x, y);
    m.compare("Y", y, w.cols, magnitude);
  }
  void spmm_transposed(const CsrPattern& w, Tensor values, Tensor dy, Tensor dx, Write write) override {
    Call m = call("spmm_transposed");
    const CsrPattern mirror = m(w);
    const double before = write == Write::add ? max_abs(m(dx)) : 0;
    const double magnitude = csr_norm(mirror, m(values), true) * column_norm(m(dy)) + before;
    oracle_->spmm_transposed(mirror, m(values), m(dy), m(dx), write);
    fast_->spmm_transposed(w, values, dy, dx, write);
    m.compare("dX", dx, w.rows, magnitude);
  }
  void sddmm(const CsrPattern& w, Tensor dy, Tensor x, Tensor dvalues) override {
    Call m = call("sddmm");
    const double magnitude = row_norm(m(dy)) * row_norm(m(x)) + max_abs(m(dvalues));
    oracle_->sddmm(m(w), m(dy), m(x), m(dvalues));
    fast_->sddmm(w, dy, x, dvalues);
    m.compare("dvalues", dvalues, x.cols, magnitude);
  }

  std::shared_ptr<PreparedPattern> prepare_pattern(const CsrPattern& pattern, Tensor values) override {
    return fast_->prepare_pattern(pattern, values);
  }
  void update_values(const CsrPattern& pattern, Tensor values) override { fast_->update_values(pattern, values); }
  std::unique_ptr<PreparedWeight> prepare_dense(Tensor w) override {
    return wrap(fast_->prepare_dense(w), [&](CheckedWeight& weight, Call& m) { weight.values = m(w); });
  }
  std::unique_ptr<PreparedWeight> prepare_csr(const CsrPattern& pattern, Tensor values) override {
    return wrap(fast_->prepare_csr(pattern, values), [&](CheckedWeight& weight, Call& m) {
      weight.pattern = m(pattern);
      weight.values = m(values);
      weight.sparse = true;
    });
  }
  void apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) override {
    const auto& weight = static_cast<const CheckedWeight&>(w);
    Call m = call(weight.sparse ? "apply (csr)" : "apply (dense)");
    const double norm = weight.sparse ? csr_norm(weight.pattern, weight.values, false) : row_norm(weight.values);
    const double magnitude = norm * column_norm(m(x)) + max_abs(m(epilogue.bias)) + max_abs(m(epilogue.residual));
    if (weight.sparse) {
      oracle_->spmm(weight.pattern, weight.values, m(x), m(y));
    } else {
      oracle_->gemm(Trans::no, Trans::no, weight.values, m(x), m(y), Write::overwrite);
    }
    apply_epilogue(*oracle_, {m(epilogue.bias), epilogue.activation, m(epilogue.residual)}, m(y));
    fast_->apply(*weight.prepared, x, y, epilogue);
    m.compare_product("Y", y, x.rows, magnitude, rounded_to(fast_->products()));
  }

  void bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) override {
    Call m = call("bias_activation");
    const double magnitude = max_abs(m(x)) + max_abs(m(bias));
    oracle_->bias_activation(m(x), m(bias), activation, m(y));
    fast_->bias_activation(x, bias, activation, y);
    m.compare("Y", y, 1, magnitude);  // first, for Y may be X
    m.compare("X", x, 1, magnitude);
  }
  void activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) override {
    Call m = call("activation_grad");
    const double magnitude = 2 * max_abs(m(dy));
    oracle_->activation_grad(m(x), activation, m(dy), m(dx));
    fast_->activation_grad(x, activation, dy, dx);
    m.compare("dX", dx, 1, magnitude);
  }
  void bias_grad(Tensor dy, Tensor dbias) override {
    Call m = call("bias_grad");
    const double magnitude = row_norm(m(dy)) * root(dy.cols) + max_abs(m(dbias));
    oracle_->bias_grad(m(dy), m(dbias));
    fast_->bias_grad(dy, dbias);
    m.compare("dbias", dbias, dy.cols, magnitude);
  }
  void bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) override {
    Call m = call("bias_dropout_residual");
    const double magnitude = (max_abs(m(y)) + max_abs(m(bias))) * dropout_scale(dropout) + max_abs(m(residual));
    oracle_->bias_dropout_residual(m(y), m(bias), dropout, m(residual));
    fast_->bias_dropout_residual(y, bias, dropout, residual);
    m.compare("Y", y, 1, magnitude);
  }
  void dropout(Tensor x, Dropout dropout, Tensor y) override {
    Call m = call("dropout");
    const double magnitude = max_abs(m(x)) * dropout_scale(dropout);
    oracle_->dropout(m(x), dropout, m(y));
    fast_->dropout(x, dropout, y);
    m.compare("Y", y, 1, magnitude);
  }
  void add(Tensor x, Tensor y) override {
    Call m = call("add");
    const double magnitude = max_abs(m(x)) + max_abs(m(y));
    oracle_->add(m(x), m(y));
    fast_->add(x, y);
    m.compare("Y", y, 1, magnitude);
  }

  void layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) override {
    Call m = call("layer_norm");
    const double largest = max_abs(m(x));
    oracle_->layer_norm(m(x), m(gamma), m(beta), eps, m(y), m(mean), m(rstd));
    fast_->layer_norm(x, gamma, beta, eps, y, mean, rstd);
    const double scale = max_abs(m(rstd));
    m.compare("mean", mean, x.rows, largest);
    m.compare("rstd", rstd, x.rows, scale * (1 + scale * largest));
    m.compare("Y", y, x.rows, max_abs(m(gamma)) * (1 + scale * largest) + max_abs(m(beta)));
  }
  void layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                       Tensor dbeta) override {
    Call m = call("layer_norm_grad");
    const double scale = max_abs(m(rstd)), normalized = scale * (max_abs(m(x)) + max_abs(m(mean)));
    const double magnitude = scale * max_abs(m(gamma)) * max_abs(m(dy)) * (2 + normalized);
    const double sum = row_norm(m(dy)) * root(x.cols);
    const double magnitude_gamma = sum * normalized + max_abs(m(dgamma)), magnitude_beta = sum + max_abs(m(dbeta));
    oracle_->layer_norm_grad(m(x), m(gamma), m(mean), m(rstd), m(dy), m(dx), m(dgamma), m(dbeta));
    fast_->layer_norm_grad(x, gamma, mean, rstd, dy, dx, dgamma, dbeta);
    m.compare("dX", dx, x.rows, magnitude);
    m.compare("dgamma", dgamma, x.cols, magnitude_gamma);
    m.compare("dbeta", dbeta, x.cols, magnitude_beta);
  }

  void attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout, Tensor context,
                 Tensor log_sum_exp) override {
    Call m = call("attention");
    const double score = largest_score(shape, m(q), m(k)), largest = max_abs(m(v)) * dropout_scale(dropout);
    oracle_->attention(shape, m(q), m(k), m(v), m(starts), dropout, m(context), m(log_sum_exp));
    fast_->attention(shape, q, k, v, starts, dropout, context, log_sum_exp);
    const DType inputs = rounded_to(fast_->attention_products());
    m.compare_product("log_sum_exp", log_sum_exp, shape.head_dim, score + std::log(1.0 + static_cast<double>(q.cols)),
                      inputs);
    m.compare_product("context", context, q.cols, largest * (1 + score), inputs);
  }
  // A score that is off by d changes a probability by the factor exp(d): hence 1 + score everywhere.
  void attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                      Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) override {
    Call m = call("attention_grad");
    const std::int64_t dim = std::max<std::int64_t>(1, shape.head_dim);
    const double score = 1 + largest_score(shape, m(q), m(k));
    const double dprobability = column_norm(m(v), dim) * column_norm(m(dcontext), dim) * dropout_scale(dropout);
    const double dscore = dprobability * score / root(dim);
    // With ones for dcontext, dv is what each key gets of all queries together.
    const Storage ones = make_storage(*oracle_, q.rows, q.cols, oracle_->real());
    oracle_->fill(ones.tensor, 1);
    oracle_->attention_grad(shape, m(q), m(k), m(v), m(starts), dropout, m(context), m(log_sum_exp), ones.tensor, m(dq),
                            m(dk), m(dv));
    const double attended = 1 + max_abs(m(dv));
    const double magnitude_q = dscore * max_abs(m(k)), magnitude_k = dscore * max_abs(m(q)) * attended;
    const double magnitude_v = max_abs(m(dcontext)) * score * attended;
    oracle_->attention_grad(shape, m(q), m(k), m(v), m(starts), dropout, m(context), m(log_sum_exp), m(dcontext), m(dq),
                            m(dk), m(dv));
    fast_->attention_grad(shape, q, k, v, starts, dropout, context, log_sum_exp, dcontext, dq, dk, dv);
    const DType inputs = rounded_to(fast_->attention_products());
    m.compare_product("dq", dq, dim, magnitude_q, inputs);
    m.compare_product("dk", dk, dim, magnitude_k, inputs);
    m.compare_product("dv", dv, dim, magnitude_v, inputs);
  }
  void segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) override {
    Call m = call("segment_dot");
    const std::int64_t n = a.size() / std::max<std::int64_t>(1, out.rows);
    const double magnitude = max_abs(m(a)) * max_abs(m(b)) * root(n);
    oracle_->segment_dot(m(a), m(b), m(starts), m(out));
    fast_->segment_dot(a, b, starts, out);
    m.compare("out", out, n, magnitude);
  }

  void embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type, Tensor x) override {
    Call m = call("embed");
    const double magnitude = max_abs(m(word)) + max_abs(m(position)) + max_abs(m(type));
    oracle_->embed(m(ids), m(types), m(starts), m(word), m(position), m(type), m(x));
    fast_->embed(ids, types, starts, word, position, type, x);
    m.compare("X", x, 1, magnitude);
  }
  void embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                  Tensor dtype) override {
    Call m = call("embed_grad");
    const double sum = max_abs(m(dx)) * root(dx.cols);
    const double word = max_abs(m(dword)), position = max_abs(m(dposition)), type = max_abs(m(dtype));
    oracle_->embed_grad(m(ids), m(types), m(starts), m(dx), m(dword), m(dposition), m(dtype));
    fast_->embed_grad(ids, types, starts, dx, dword, dposition, dtype);
    m.compare("dword", dword, dx.cols, sum + word);
    m.compare("dposition", dposition, dx.cols, sum + position);
    m.compare("dtype", dtype, dx.cols, sum + type);
  }
  void gather_columns(Tensor x, Tensor index, Tensor y) override {
    Call m = call("gather_columns");
    oracle_->gather_columns(m(x), m(index), m(y));
    fast_->gather_columns(x, index, y);
    m.compare("Y", y, 1, 0);
  }
  void gather_columns_grad(Tensor dy, Tensor index, Tensor dx) override {
    Call m = call("gather_columns_grad");
    oracle_->gather_columns_grad(m(dy), m(index), m(dx));
    fast_->gather_columns_grad(dy, index, dx);
    m.compare("dX", dx, dy.cols, max_abs(m(dy)) * root(dy.cols));
  }

  double cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) override {
    Call m = call("cross_entropy");
    m(dlogits);
    const double want = oracle_->cross_entropy(m(logits), m(labels), scale, m(dlogits));
    const double got = fast_->cross_entropy(logits, labels, scale, dlogits);
    return classified(m, logits, dlogits, logits.rows, got, want);
  }
  double span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) override {
    Call m = call("span_cross_entropy");
    const double want = oracle_->span_cross_entropy(m(logits), m(starts), m(labels), scale, m(dlogits));
    const double got = fast_->span_cross_entropy(logits, starts, labels, scale, dlogits);
    return classified(m, logits, dlogits, logits.cols, got, want);
  }
  double mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) override {
    Call m = call("mean_squared_error");
    const double largest = max_abs(m(logits)) + max_abs(m(targets));
    const double want = oracle_->mean_squared_error(m(logits), m(targets), scale, m(dlogits));
    const double got = fast_->mean_squared_error(logits, targets, scale, dlogits);
    m.compare("dlogits", dlogits, 1, 2 * std::abs(scale) * largest / static_cast<double>(logits.size()));
    return m.compare(got, want, logits.size(), largest * largest);
  }
  double binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) override {
    Call m = call("binary_cross_entropy");
    const double target = 1 + max_abs(m(targets));
    const double want = oracle_->binary_cross_entropy(m(logits), m(targets), scale, m(dlogits));
    const double got = fast_->binary_cross_entropy(logits, targets, scale, dlogits);
    m.compare("dlogits", dlogits, 1, std::abs(scale) * target / static_cast<double>(logits.size()));
    return m.compare(got, want, logits.size(), (1 + max_abs(m(logits))) * target);
  }

  double softened_divergence(Tensor logits, Tensor targets, double temperature, double scale, Tensor dlogits) override {
    Call m = call("softened_divergence");
    const double largest = 1 + (max_abs(m(logits)) + max_abs(m(targets))) / temperature;
    const double magnitude = std::abs(scale) * temperature * largest / static_cast<double>(logits.cols);
    const double want = oracle_->softened_divergence(m(logits), m(targets), temperature, scale, m(dlogits));
    const double got = fast_->softened_divergence(logits, targets, temperature, scale, dlogits);
    m.compare("dlogits", dlogits, logits.rows, magnitude);
    return m.compare(got, want, logits.rows, temperature * temperature * largest);
  }
  double cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) override {
    Call m = call("cosine_distance");
    const double want = oracle_->cosine_distance(m(x), m(targets), scale, m(dx));
    const double got = fast_->cosine_distance(x, targets, scale, dx);
    m.compare("dx", dx, x.rows, 2 * std::abs(scale) / static_cast<double>(x.cols) / least_column_norm(m(x)));
    return m.compare(got, want, x.rows, 2);
  }
  double relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                           Tensor teacher_b, Tensor starts, double scale, Tensor da, Tensor db) override {
    Call m = call("relation_distance");
    const checked::RelationBounds bounds(m, comparison, heads, a, b, teacher_a, teacher_b, starts, scale);
    const double magnitude_a = bounds.da + max_abs(m(da)), magnitude_b = bounds.db + max_abs(m(db));
    const double want = oracle_->relation_distance(comparison, heads, m(a), m(b), m(teacher_a), m(teacher_b), m(starts),
                                                   scale, m(da), m(db));
    const double got = fast_->relation_distance(comparison, heads, a, b, teacher_a, teacher_b, starts, scale, da, db);
    m.compare("da", da, a.rows, magnitude_a);
    m.compare("db", db, a.rows, magnitude_b);
    return m.compare(got, want, a.rows, bounds.value);
  }

  void mask_apply(Tensor w, Tensor mask, Tensor out) override {
    Call m = call("mask_apply");
    oracle_->mask_apply(m(w), m(mask), m(out));
    fast_->mask_apply(w, mask, out);
    m.compare("out", out, 1, 0);
  }
  void mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) override {
    Call m = call("mask_grad");
    const double magnitude_w = max_abs(m(g)) + max_abs(m(dw));
    const double magnitude_scores = max_abs(m(g)) * max_abs(m(w)) + max_abs(m(dscores));
    oracle_->mask_grad(m(g), m(w), m(mask), m(dw), m(dscores));
    fast_->mask_grad(g, w, mask, dw, dscores);
    m.compare("dw", dw, 1, magnitude_w);
    m.compare("dscores", dscores, 1, magnitude_scores);
  }

  double sigmoid_penalty(Tensor scores, double scale, Tensor dscores) override {
    Call m = call("sigmoid_penalty");
    const double magnitude = std::abs(scale) + max_abs(m(dscores));
    const double want = oracle_->sigmoid_penalty(m(scores), scale, m(dscores));
    const double got = fast_->sigmoid_penalty(scores, scale, dscores);
    m.compare("dscores", dscores, 1, magnitude);
    return m.compare(got, want, scores.size(), want);
  }

  double sum_of_squares(std::span<const Tensor> tensors) override {
    Call m = call("sum_of_squares");
    std::vector<Tensor> mirrors;
    std::int64_t n = 0;
    for (Tensor x : tensors) mirrors.push_back(m(x)), n += x.size();
    const double want = oracle_->sum_of_squares(mirrors);
    return m.compare(fast_->sum_of_squares(tensors), want, n, want);
  }
  void adamw(const AdamWStep& step, std::span<const AdamWItem> items) override {
    Call m = call("adamw");
    std::vector<AdamWItem> mirrors;
    std::vector<double> value, first, second;  // magnitudes before the step
    for (const AdamWItem& item : items) {
      mirrors.push_back(item);
      for (Tensor AdamWItem::*field :
           {&AdamWItem::value, &AdamWItem::gradient, &AdamWItem::first_moment, &AdamWItem::second_moment}) {
        mirrors.back().*field = m(item.*field);
      }
      value.push_back(max_abs(mirrors.back().value));
      const double gradient = max_abs(mirrors.back().gradient) * std::abs(step.gradient_scale);
      first.push_back(max_abs(mirrors.back().first_moment) + (1 - step.beta1) * gradient);
      second.push_back(max_abs(mirrors.back().second_moment) + (1 - step.beta2) * gradient * gradient);
    }
    oracle_->adamw(step, mirrors);
    fast_->adamw(step, items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      m.compare("first moment", items[i].first_moment, 1, first[i]);
      m.compare("second moment", items[i].second_moment, 1, second[i]);
      m.compare("value", items[i].value, 1, value[i] + max_abs(mirrors[i].value));
      m.compare("gradient", items[i].gradient, 1, 0);
    }
  }

 private:
  /// What the inputs of products are rounded to, as tolerance.h names it.
  DType rounded_to(DType products) const { return fast_->tf32() ? DType::f16 : products; }
  Call call(std::string_view operation) { return {*fast_, *oracle_, operation}; }

  template <class Fill>
  std::unique_ptr<PreparedWeight> wrap(std::unique_ptr<PreparedWeight> prepared, const Fill& fill_mirrors) {
    if (!prepared) return nullptr;
    auto weight = std::make_unique<CheckedWeight>();
    weight->prepared = std::move(prepared);
    weight->owner = std::make_unique<Call>(*fast_, *oracle_, "prepare");
    fill_mirrors(*weight, *weight->owner);
    return weight;
  }

  std::unique_ptr<Backend> fast_, oracle_;
};

}  // namespace

std::unique_ptr<Backend> make_checked_backend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> oracle) {
  return std::make_unique<CheckedBackend>(std::move(fast), std::move(oracle));
}

}  // namespace bertx
