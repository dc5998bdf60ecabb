// A backend with one wrong output: what proves that a comparison can fail.
#pragma once

#include "support.h"

namespace bertx::test {

/// Forwards to `backend`, then makes the largest element of the output `planted` ("gemm: C") wrong by 2 %.
class Planted : public Backend {
 public:
  Planted(std::unique_ptr<Backend> backend, std::string planted, int* hits = nullptr)
      : b_(std::move(backend)), planted_(std::move(planted)), hits_(hits) {}

  std::string_view name() const override { return b_->name(); }
  DType real() const override { return b_->real(); }
  std::string description() const override { return b_->description(); }
  Buffer allocate(std::size_t bytes) override { return b_->allocate(bytes); }
  bool host_memory() const override { return b_->host_memory(); }
  void upload(Tensor host, Tensor device) override { b_->upload(host, device); }
  void download(Tensor device, Tensor host) override { b_->download(device, host); }

  void fill(Tensor x, double value) override {
    b_->fill(x, value);
    spoil("fill: X", x);
  }
  void copy(Tensor from, Tensor to) override {
    b_->copy(from, to);
    spoil("copy: to", to);
  }
  void gemm(Trans ta, Trans tb, Tensor a, Tensor b, Tensor c, Write write) override {
    b_->gemm(ta, tb, a, b, c, write);
    spoil("gemm: C", c);
  }
  void spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) override {
    b_->spmm(pattern, values, x, y);
    spoil("spmm: Y", y);
  }
  void spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) override {
    b_->spmm_transposed(pattern, values, dy, dx, write);
    spoil("spmm_transposed: dX", dx);
  }
  void sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) override {
    b_->sddmm(pattern, dy, x, dvalues);
    spoil("sddmm: dvalues", dvalues);
  }
  std::shared_ptr<PreparedPattern> prepare_pattern(const CsrPattern& pattern, Tensor values) override {
    return b_->prepare_pattern(pattern, values);
  }
  void update_values(const CsrPattern& pattern, Tensor values) override { b_->update_values(pattern, values); }
  std::unique_ptr<PreparedWeight> prepare_dense(Tensor w) override { return b_->prepare_dense(w); }
  std::unique_ptr<PreparedWeight> prepare_csr(const CsrPattern& pattern, Tensor values) override {
    return b_->prepare_csr(pattern, values);
  }
  void apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) override {
    b_->apply(w, x, y, epilogue);
    spoil("apply (dense): Y", y);
    spoil("apply (csr): Y", y);
  }
  void bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) override {
    b_->bias_activation(x, bias, activation, y);
    if (y.data != x.data) spoil("bias_activation: X", x);
    spoil("bias_activation: Y", y);
  }
  void activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) override {
    b_->activation_grad(x, activation, dy, dx);
    spoil("activation_grad: dX", dx);
  }
  void bias_grad(Tensor dy, Tensor dbias) override {
    b_->bias_grad(dy, dbias);
    spoil("bias_grad: dbias", dbias);
  }
  void bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) override {
    b_->bias_dropout_residual(y, bias, dropout, residual);
    spoil("bias_dropout_residual: Y", y);
  }
  void dropout(Tensor x, Dropout dropout, Tensor y) override {
    b_->dropout(x, dropout, y);
    spoil("dropout: Y", y);
  }
  void layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) override {
    b_->layer_norm(x, gamma, beta, eps, y, mean, rstd);
    spoil("layer_norm: Y", y);
    spoil("layer_norm: mean", mean);
    spoil("layer_norm: rstd", rstd);
  }
  void layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                       Tensor dbeta) override {
    b_->layer_norm_grad(x, gamma, mean, rstd, dy, dx, dgamma, dbeta);
    spoil("layer_norm_grad: dX", dx);
    spoil("layer_norm_grad: dgamma", dgamma);
    spoil("layer_norm_grad: dbeta", dbeta);
  }
  void add(Tensor x, Tensor y) override {
    b_->add(x, y);
    spoil("add: Y", y);
  }
  void attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout, Tensor context,
                 Tensor log_sum_exp) override {
    b_->attention(shape, q, k, v, starts, dropout, context, log_sum_exp);
    spoil("attention: context", context);
    spoil("attention: log_sum_exp", log_sum_exp);
  }
  void attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                      Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) override {
    b_->attention_grad(shape, q, k, v, starts, dropout, context, log_sum_exp, dcontext, dq, dk, dv);
    spoil("attention_grad: dq", dq);
    spoil("attention_grad: dk", dk);
    spoil("attention_grad: dv", dv);
  }
  void segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) override {
    b_->segment_dot(a, b, starts, out);
    spoil("segment_dot: out", out);
  }
  void embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type, Tensor x) override {
    b_->embed(ids, types, starts, word, position, type, x);
    spoil("embed: X", x);
  }
  void embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                  Tensor dtype) override {
    b_->embed_grad(ids, types, starts, dx, dword, dposition, dtype);
    spoil("embed_grad: dword", dword);
    spoil("embed_grad: dposition", dposition);
    spoil("embed_grad: dtype", dtype);
  }
  void gather_columns(Tensor x, Tensor index, Tensor y) override {
    b_->gather_columns(x, index, y);
    spoil("gather_columns: Y", y);
  }
  void gather_columns_grad(Tensor dy, Tensor index, Tensor dx) override {
    b_->gather_columns_grad(dy, index, dx);
    spoil("gather_columns_grad: dX", dx);
  }
  double cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) override {
    return loss("cross_entropy", b_->cross_entropy(logits, labels, scale, dlogits), dlogits);
  }
  double span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) override {
    return loss("span_cross_entropy", b_->span_cross_entropy(logits, starts, labels, scale, dlogits), dlogits);
  }
  double mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) override {
    return loss("mean_squared_error", b_->mean_squared_error(logits, targets, scale, dlogits), dlogits);
  }
  double binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) override {
    return loss("binary_cross_entropy", b_->binary_cross_entropy(logits, targets, scale, dlogits), dlogits);
  }
  double softened_divergence(Tensor logits, Tensor targets, double temperature, double scale, Tensor dlogits) override {
    return loss("softened_divergence", b_->softened_divergence(logits, targets, temperature, scale, dlogits), dlogits);
  }
  double cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) override {
    const double value = b_->cosine_distance(x, targets, scale, dx);
    spoil("cosine_distance: dx", dx);
    return number("cosine_distance: the returned number", value);
  }
  double relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                           Tensor teacher_b, Tensor starts, double scale, Tensor da, Tensor db) override {
    const double value = b_->relation_distance(comparison, heads, a, b, teacher_a, teacher_b, starts, scale, da, db);
    spoil("relation_distance: da", da);
    if (db.data != da.data) spoil("relation_distance: db", db);
    return number("relation_distance: the returned number", value);
  }
  void mask_apply(Tensor w, Tensor mask, Tensor out) override {
    b_->mask_apply(w, mask, out);
    spoil("mask_apply: out", out);
  }
  void mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) override {
    b_->mask_grad(g, w, mask, dw, dscores);
    spoil("mask_grad: dw", dw);
    spoil("mask_grad: dscores", dscores);
  }
  double sigmoid_penalty(Tensor scores, double scale, Tensor dscores) override {
    const double sum = b_->sigmoid_penalty(scores, scale, dscores);
    spoil("sigmoid_penalty: dscores", dscores);
    return number("sigmoid_penalty: the returned number", sum);
  }
  double sum_of_squares(std::span<const Tensor> tensors) override {
    return number("sum_of_squares: the returned number", b_->sum_of_squares(tensors));
  }
  void adamw(const AdamWStep& step, std::span<const AdamWItem> items) override {
    b_->adamw(step, items);
    for (const AdamWItem& item : items) {
      spoil("adamw: value", item.value);
      spoil("adamw: first moment", item.first_moment);
      spoil("adamw: second moment", item.second_moment);
    }
  }

 private:
  static constexpr double kFactor = 1.02;
  static constexpr double kLeast = 1e-4;  // an output that is smaller may be rounding and nothing else

  void spoil(const std::string& output, Tensor x) {
    if (output != planted_ || x.empty()) return;
    std::vector<double> values = values_of(*b_, x);
    const auto largest =
        std::max_element(values.begin(), values.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (largest == values.end() || !(std::abs(*largest) > kLeast)) return;
    *largest *= kFactor;
    b_->upload(view(values.data(), x.rows, x.cols, DType::f64), x);
    if (hits_) ++*hits_;
  }
  double number(const std::string& output, double value) {
    if (output != planted_ || value == 0) return value;
    if (hits_) ++*hits_;
    return value * kFactor;
  }
  double loss(const std::string& operation, double value, Tensor dlogits) {
    spoil(operation + ": dlogits", dlogits);
    return number(operation + ": the returned number", value);
  }

  std::unique_ptr<Backend> b_;
  std::string planted_;
  int* hits_;
};

}  // namespace bertx::test
