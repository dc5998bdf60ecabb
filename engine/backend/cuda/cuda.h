// The cuda backend: cuBLASLt for dense products, sparse/cuda for CSR, own kernels for all between them. Everything is
// f32, but that BackendOptions may have the inputs of products rounded to bf16 or TF32.
//
// Own kernels give the same bits for the same inputs, run after run; dense products as cuBLASLt does.
#pragma once

#include <algorithm>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/matmul.h"
#include "bertx/backend.h"

namespace bertx {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(BackendOptions options) : options_(options), device_(cuda::Device::get()) {}
  std::string_view name() const override { return "cuda"; }
  DType real() const override { return DType::f32; }
  DType products() const override { return options_.products; }
  bool tf32() const override { return options_.products == DType::f32 && options_.tf32; }
  DType attention_products() const override { return options_.products; }
  DType between_products() const override { return options_.products; }
  std::string description() const override;

  // memory.cpp
  Buffer allocate(std::size_t bytes) override;
  bool host_memory() const override { return false; }
  void upload(Tensor host, Tensor device) override;
  void download(Tensor device, Tensor host) override;
  void fill(Tensor x, double value) override;
  void copy(Tensor from, Tensor to) override;

  // recording.cpp
  std::unique_ptr<Recording> record(const std::function<void()>& operations) override;

  // products.cpp
  void gemm(Trans trans_a, Trans trans_b, Tensor a, Tensor b, Tensor c, Write write) override;

  // sparse_products.cpp
  void spmm(const CsrPattern& pattern, Tensor values, Tensor x, Tensor y) override;
  void spmm_transposed(const CsrPattern& pattern, Tensor values, Tensor dy, Tensor dx, Write write) override;
  void sddmm(const CsrPattern& pattern, Tensor dy, Tensor x, Tensor dvalues) override;
  std::shared_ptr<PreparedPattern> prepare_pattern(const CsrPattern& pattern, Tensor values) override;
  void update_values(const CsrPattern& pattern, Tensor values) override;

  // prepare.cpp
  std::unique_ptr<PreparedWeight> prepare_dense(Tensor w) override;
  std::unique_ptr<PreparedWeight> prepare_csr(const CsrPattern& pattern, Tensor values) override;
  void apply(const PreparedWeight& w, Tensor x, Tensor y, const Epilogue& epilogue) override;

  // elementwise.cpp
  void bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) override;
  void activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) override;
  void bias_grad(Tensor dy, Tensor dbias) override;
  void bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) override;
  void dropout(Tensor x, Dropout dropout, Tensor y) override;
  void add(Tensor x, Tensor y) override;
  void layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) override;
  void layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                       Tensor dbeta) override;

  // sequences.cpp
  void attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout, Tensor context,
                 Tensor log_sum_exp) override;
  void attention_grad(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                      Tensor context, Tensor log_sum_exp, Tensor dcontext, Tensor dq, Tensor dk, Tensor dv) override;
  void segment_dot(Tensor a, Tensor b, Tensor starts, Tensor out) override;
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

  const BackendOptions& options() const { return options_; }
  /// What dense products take their inputs as.
  cuda::Inputs dense_inputs() const {
    if (options_.products == DType::bf16) return cuda::Inputs::bf16;
    return options_.tf32 ? cuda::Inputs::tf32 : cuda::Inputs::f32;
  }

 private:
  void attention_of_bf16(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Dropout dropout,
                         Tensor context, Tensor log_sum_exp);  // sequences.cpp

  BackendOptions options_;
  cuda::Device& device_;
};

namespace cuda {

/// A weight that this backend has prepared.
class Weight : public PreparedWeight {
 public:
  /// y [out, T] = activation(W x [in, T] + bias) + residual
  virtual void apply(Tensor x, Tensor y, const Epilogue& epilogue) const = 0;
  /// What bytes() are in: weights that share them say the same.
  virtual const void* storage() const { return this; }
};
/// y = activation(y + bias) + residual, in one pass.
void finish(Device& device, const Epilogue& epilogue, Tensor y);
/// Row by row, between tensors of one shape and type (memory.cpp).
void copy_2d(Tensor from, Tensor to, cudaMemcpyKind kind, cudaStream_t stream);

inline Matrix matrix(Tensor x) { return {x.as<float>(), x.stride}; }
inline ConstMatrix const_matrix(Tensor x) { return {x.as<float>(), x.stride}; }
inline Bf16Matrix bf16_matrix(Tensor x) {
  assert(x.dtype == DType::bf16);
  return {static_cast<std::uint16_t*>(x.data), x.stride};
}
inline Shape shape_of(Tensor x) { return {x.rows, x.cols}; }
/// A stride smaller than the columns can only belong to a matrix of one row, where it has no meaning.
inline std::int64_t stride_of(Tensor x) { return std::max(x.stride, x.cols); }
/// A vector over features or tokens; null where the tensor is empty.
inline float* vector(Tensor x) {
  assert(x.empty() || ((x.rows == 1 || x.cols == 1) && x.contiguous()));
  return x.as<float>();
}
inline Pointwise pointwise(Activation activation) {
  static_assert(static_cast<int>(Activation::gelu_erf) == static_cast<int>(Pointwise::gelu_erf) &&
                static_cast<int>(Activation::gelu_tanh) == static_cast<int>(Pointwise::gelu_tanh) &&
                static_cast<int>(Activation::relu) == static_cast<int>(Pointwise::relu) &&
                static_cast<int>(Activation::tanh) == static_cast<int>(Pointwise::tanh));
  return static_cast<Pointwise>(activation);
}
inline DropoutMask dropout_mask(Dropout dropout) {
  if (!dropout.active()) return {};
  return {dropout.seed, dropout_threshold(dropout.p), static_cast<float>(1.0 / (1.0 - static_cast<double>(dropout.p)))};
}

/// Device memory of one operation; the stream keeps it until the operation is through.
template <class T>
class Scratch {
 public:
  Scratch(Device& device, std::int64_t count) : buffer_(device.allocate(static_cast<std::size_t>(count) * sizeof(T))) {}
  T* get() const { return static_cast<T*>(buffer_.data.get()); }

 private:
  Buffer buffer_;
};

}  // namespace cuda
}  // namespace bertx
