// The reference backend: every operation as its formula says, in double, one thread, no blocking and no reordering.
// It is the oracle of the other backends, so it is kept short enough to be checked by reading.
#pragma once

#include "bertx/backend.h"

namespace bertx {

class ReferenceBackend final : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  DType real() const override { return DType::f64; }
  std::string description() const override { return "reference: plain loops in double, one thread"; }

  // memory.cpp
  Buffer allocate(std::size_t bytes) override;
  bool host_memory() const override { return true; }
  void upload(Tensor host, Tensor device) override;
  void download(Tensor device, Tensor host) override;
  void fill(Tensor x, double value) override;
  void copy(Tensor from, Tensor to) override;

  // products.cpp
  void gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) override;
  void spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) override;
  void spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) override;
  void sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) override;
  std::shared_ptr<PreparedPattern> prepare_pattern(const CsrPattern&, Tensor) override { return nullptr; }
  void update_values(const CsrPattern&, Tensor) override {}
  std::unique_ptr<PreparedWeight> prepare_dense(Tensor w) override;
  std::unique_ptr<PreparedWeight> prepare_csr(const CsrPattern& pattern, Tensor values) override;
  void apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) override;

  // activations.cpp
  void bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) override;
  void activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) override;
  void bias_grad(Tensor dy, Tensor dbias) override;
  void bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) override;
  void dropout(Tensor x, Dropout dropout, Tensor y) override;
  void add(Tensor x, Tensor y) override;

  // normalization.cpp
  void layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) override;
  void layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                       Tensor dbeta) override;

  // attention.cpp
  void attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout, Tensor context,
                 Tensor log_sum_exp) override;
  void attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                      Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) override;
  void segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) override;

  // embeddings.cpp
  void embed(Tensor ids, Tensor types, Tensor starts, Tensor word, Tensor position, Tensor type, Tensor x) override;
  void embed_grad(Tensor ids, Tensor types, Tensor starts, Tensor dx, Tensor dword, Tensor dposition,
                  Tensor dtype) override;
  void gather_columns(Tensor x, Tensor index, Tensor y) override;
  void gather_columns_grad(Tensor dy, Tensor index, Tensor dx) override;

  // losses.cpp
  double cross_entropy(Tensor logits, Tensor labels, double scale, Tensor dlogits) override;
  double span_cross_entropy(Tensor logits, Tensor starts, Tensor labels, double scale, Tensor dlogits) override;
  double mean_squared_error(Tensor logits, Tensor targets, double scale, Tensor dlogits) override;
  double binary_cross_entropy(Tensor logits, Tensor targets, double scale, Tensor dlogits) override;

  // teacher_losses.cpp
  double softened_divergence(Tensor logits, Tensor targets, double temperature, double scale, Tensor dlogits) override;
  double cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) override;
  double relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                           Tensor teacher_b, Tensor starts, double scale, Tensor da, Tensor db) override;

  // optimizer.cpp
  void mask_apply(Tensor w, Tensor mask, Tensor out) override;
  void mask_grad(Tensor g, Tensor w, Tensor mask, Tensor dw, Tensor dscores) override;
  double sigmoid_penalty(Tensor scores, double scale, Tensor dscores) override;
  double sum_of_squares(std::span<const Tensor> tensors) override;
  void adamw(const AdamWStep& step, std::span<const AdamWItem> items) override;
};

namespace reference {

/// Element (i, j)
inline double& at(Tensor x, std::int64_t i, std::int64_t j) {
  assert(i >= 0 && i < x.rows && j >= 0 && j < x.cols);
  return x.as<double>()[i * x.stride + j];
}
/// Element i of ids, labels, starts or columns: i32 [1, n]
inline std::int64_t index_at(Tensor x, std::int64_t i) {
  assert(i >= 0 && i < x.cols && x.rows == 1);
  return x.as<std::int32_t>()[i];
}
/// What dropout multiplies element (row, column) by: 0 or 1 / (1 - p); 1 where it is off.
inline double dropout_factor(Dropout dropout, std::int64_t row, std::int64_t column) {
  if (!dropout.active()) return 1.0;
  const bool kept = random_u32(dropout.seed, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column)) >=
                    dropout_threshold(dropout.p);
  return kept ? 1.0 / (1.0 - static_cast<double>(dropout.p)) : 0.0;
}

}  // namespace reference
}  // namespace bertx
