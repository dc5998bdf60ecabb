// A backend that computes nothing and has no memory: what a run of a model takes is counted without running it. Its
// buffers are addresses that must not be touched.
#pragma once

#include "bertx/backend.h"

namespace bertx {

class CountingBackend : public Backend {
 public:
  /// Types and kind of memory are those of `like`.
  explicit CountingBackend(const Backend& like) : real_(like.real()), host_memory_(like.host_memory()) {}
  std::string_view name() const override { return "counting"; }
  DType real() const override { return real_; }
  std::string description() const override { return "counting: computes nothing"; }

  Buffer allocate(std::size_t bytes) override;
  bool host_memory() const override { return host_memory_; }
  void upload(Tensor, Tensor) override {}
  void download(Tensor, Tensor) override {}
  void fill(Tensor, double) override {}
  void copy(Tensor, Tensor) override {}

  void gemm(Trans, Trans, Tensor, Tensor, Tensor, Write) override {}
  void spmm(const CsrPattern&, Tensor, Tensor, Tensor) override {}
  void spmm_transposed(const CsrPattern&, Tensor, Tensor, Tensor, Write) override {}
  void sddmm(const CsrPattern&, Tensor, Tensor, Tensor) override {}
  std::unique_ptr<PreparedWeight> prepare_dense(Tensor) override { return nullptr; }
  std::shared_ptr<PreparedPattern> prepare_pattern(const CsrPattern&, Tensor) override { return nullptr; }
  void update_values(const CsrPattern&, Tensor) override {}
  std::unique_ptr<PreparedWeight> prepare_csr(const CsrPattern&, Tensor) override { return nullptr; }
  void apply(const PreparedWeight&, Tensor, Tensor, const Epilogue&) override {}

  void bias_activation(Tensor, Tensor, Activation, Tensor) override {}
  void activation_grad(Tensor, Activation, Tensor, Tensor) override {}
  void bias_grad(Tensor, Tensor) override {}
  void bias_dropout_residual(Tensor, Tensor, Dropout, Tensor) override {}
  void dropout(Tensor, Dropout, Tensor) override {}
  void layer_norm(Tensor, Tensor, Tensor, double, Tensor, Tensor, Tensor) override {}
  void layer_norm_grad(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void add(Tensor, Tensor) override {}

  void attention(AttentionShape, Tensor, Tensor, Tensor, Tensor, Dropout, Tensor, Tensor) override {}
  void attention_grad(AttentionShape, Tensor, Tensor, Tensor, Tensor, Dropout, Tensor, Tensor, Tensor, Tensor, Tensor,
                      Tensor) override {}
  void segment_dot(Tensor, Tensor, Tensor, Tensor) override {}
  void embed(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void embed_grad(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void gather_columns(Tensor, Tensor, Tensor) override {}
  void gather_columns_grad(Tensor, Tensor, Tensor) override {}

  double cross_entropy(Tensor, Tensor, double, Tensor) override { return 0; }
  double span_cross_entropy(Tensor, Tensor, Tensor, double, Tensor) override { return 0; }
  double mean_squared_error(Tensor, Tensor, double, Tensor) override { return 0; }
  double binary_cross_entropy(Tensor, Tensor, double, Tensor) override { return 0; }
  double softened_divergence(Tensor, Tensor, double, double, Tensor) override { return 0; }
  double cosine_distance(Tensor, Tensor, double, Tensor) override { return 0; }
  double relation_distance(Comparison, std::int64_t, Tensor, Tensor, Tensor, Tensor, Tensor, double, Tensor,
                           Tensor) override {
    return 0;
  }

  void mask_apply(Tensor, Tensor, Tensor) override {}
  void mask_grad(Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  double sigmoid_penalty(Tensor, double, Tensor) override { return 0; }
  double sum_of_squares(std::span<const Tensor>) override { return 0; }
  void adamw(const AdamWStep&, std::span<const AdamWItem>) override {}

 private:
  DType real_;
  bool host_memory_;
};

}  // namespace bertx
