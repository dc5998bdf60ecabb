// What a linear map is: dense, masked, CSR, low rank, a sum …, behind one interface. `Linear` holds a bias and points
// at one of these; pruning swaps the pointer; two Linears that point at one weight share it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bertx/exec.h"

namespace bertx {

/// A trainable tensor. Its name is its path in the walk (Model::visit), which is its name in a checkpoint.
struct Parameter {
  Storage value, grad;                ///< grad empty: frozen, or not training
  bool decay = true;                  ///< weight decay acts on it (not on biases and LayerNorm)
  bool frozen = false;                ///< never gets a gradient
  double learning_rate_factor = 1.0;  ///< times the learning rate of the step

  Tensor tensor() const { return value.tensor; }
  Tensor gradient() const { return grad.tensor; }
  /// Gives it a gradient of zeros, or zeros the one it has; a frozen one has none.
  void zero_gradient(Backend& backend);
};

using Visit = std::function<void(const std::string& path, Parameter&)>;
/// Part of a representation that is saved but never updated by an optimizer: masks, columns, row pointers.
using VisitStructure = std::function<void(const std::string& path, Storage&)>;

/// W [out, in]. Contract: y and dx are written as said, parameters' gradients accumulate.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual std::int64_t out() const = 0;
  virtual std::int64_t in() const = 0;
  virtual std::string_view kind() const = 0;  ///< "dense" | "masked" | "csr" | "low_rank" | "sum"

  /// y [out, T] = activation(W x [in, T] + bias) + residual; many threads may call it at once.
  virtual void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const = 0;
  /// dx [in, T] = Wᵀ dy [out, T] (overwrite or add; skipped when empty); own gradients += dy xᵀ.
  virtual void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) = 0;

  virtual void visit(const std::string& path, const Visit& parameter) = 0;
  virtual void structure(const std::string& /*path*/, const VisitStructure& /*part*/) {}
  /// Recomputes what is derived from parameters; called after each update and after loading.
  virtual void refresh(Backend& /*backend*/) {}
  /// Packs for inference; training afterwards is an error of the caller until `unprepare`.
  virtual void prepare(Backend& /*backend*/) {}
  /// Lays the weight out for training, where that is faster; prepare() undoes it. The first apply_grad() does it, too.
  virtual void prepare_training(Backend& /*backend*/) {}
  /// The matrix as numbers: out_matrix [out, in], dense with exact zeros.
  virtual void materialize(Backend& backend, Tensor out_matrix) const = 0;

  /// Of what refresh() makes beside parameters and structure.
  virtual std::size_t derived_bytes() const { return 0; }
  virtual std::int64_t multiplies() const = 0;  ///< per token
  virtual std::int64_t nonzeros(Backend& backend) const = 0;
  virtual std::string kernel() const = 0;  ///< what apply() runs, for reports
  virtual const PreparedWeight* prepared() const { return nullptr; }
  /// Whether apply() takes x, and gives y, of Backend::between_products(): where prepared weights do all of it.
  virtual bool takes_between_products() const { return prepared() != nullptr; }
};

class CsrWeight;

class DenseWeight final : public LinearWeight {
 public:
  /// `zeros_count`: prepare() may take the zeros out, as of a pruned model in a dense file.
  explicit DenseWeight(std::shared_ptr<Parameter> w, bool zeros_count = true)
      : w_(std::move(w)), zeros_count_(zeros_count) {}
  std::int64_t out() const override { return w_->tensor().rows; }
  std::int64_t in() const override { return w_->tensor().cols; }
  std::string_view kind() const override { return "dense"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override { parameter(path, *w_); }
  void refresh(Backend&) override { prepared_.reset(); }
  void prepare(Backend& backend) override;
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::int64_t multiplies() const override { return out() * in(); }
  std::int64_t nonzeros(Backend& backend) const override;
  std::string kernel() const override { return prepared_ ? std::string(prepared_->kernel()) : "dense"; }
  const PreparedWeight* prepared() const override { return prepared_.get(); }
  const std::shared_ptr<Parameter>& parameter() const { return w_; }
  /// The same numbers without the zeros; null where they are so few that it cannot be faster.
  std::shared_ptr<CsrWeight> without_zeros(Backend& backend) const;

 private:
  std::shared_ptr<Parameter> w_;
  bool zeros_count_;
  std::shared_ptr<PreparedWeight> prepared_;
};

/// W∘M with gradients for W where the mask is set and, in movement pruning, for the scores of every weight
/// (straight-through, 2005.07683): training under a mask is a representation of its own.
class MaskedWeight final : public LinearWeight {
 public:
  /// All ones at first; `with_scores` adds a score parameter, filled with `first_score`.
  MaskedWeight(Backend& backend, std::shared_ptr<Parameter> w, bool with_scores, double first_score = 0.0);
  std::int64_t out() const override { return w_->tensor().rows; }
  std::int64_t in() const override { return w_->tensor().cols; }
  std::string_view kind() const override { return "masked"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override;          ///< path, path + ".scores"
  void structure(const std::string& path, const VisitStructure& part) override;  ///< path + ".mask" (u8)
  void refresh(Backend& backend) override;  ///< effective = W∘M; call it after changing the mask, too
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override { return effective_.buffer.bytes; }
  std::int64_t multiplies() const override { return out() * in(); }
  std::int64_t nonzeros(Backend& backend) const override;
  std::string kernel() const override { return "dense (masked)"; }
  const std::shared_ptr<Parameter>& parameter() const { return w_; }
  Parameter* scores() { return scores_ ? scores_.get() : nullptr; }
  Storage& mask() { return mask_; }

 private:
  std::shared_ptr<Parameter> w_;
  std::unique_ptr<Parameter> scores_;
  Storage mask_, effective_;
};

/// A fixed pattern with trainable values: sparse forward (spmm), backward (spmm_transposed, sddmm).
class CsrWeight final : public LinearWeight {
 public:
  /// row_start [1, out + 1] and columns [1, nnz] are i32 and valid (sparse::validate); values [1, nnz].
  CsrWeight(std::int64_t out, std::int64_t in, Storage row_start, Storage columns, std::shared_ptr<Parameter> values);
  /// From a dense host-readable matrix: keeps where mask (u8, [out, in]) is set, or the nonzeros when it is empty.
  static std::shared_ptr<CsrWeight> from_dense(Backend& backend, Tensor w, Tensor mask = {});
  std::int64_t out() const override { return pattern_.rows; }
  std::int64_t in() const override { return pattern_.cols; }
  std::string_view kind() const override { return "csr"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override { parameter(path + ".values", *values_); }
  void structure(const std::string& path, const VisitStructure& part) override;  ///< .crow_indices, .col_indices
  /// Builds the transposed index once; drops the packed form, and hands new values to that of training.
  void refresh(Backend& backend) override;
  void prepare(Backend& backend) override;
  void prepare_training(Backend& backend) override;
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override {
    return column_start_.buffer.bytes + row_of_.buffer.bytes + position_.buffer.bytes +
           (pattern_.prepared ? pattern_.prepared->bytes() : 0);
  }
  std::int64_t multiplies() const override { return pattern_.nnz; }
  std::int64_t nonzeros(Backend&) const override { return pattern_.nnz; }
  std::string kernel() const override { return prepared_ ? std::string(prepared_->kernel()) : "csr"; }
  const PreparedWeight* prepared() const override { return prepared_.get(); }
  const std::shared_ptr<PreparedWeight>& prepared_weight() const { return prepared_; }
  const CsrPattern& pattern() const { return pattern_; }
  Parameter& values() const { return *values_; }

 private:
  CsrPattern pattern_;
  Storage row_start_, columns_, column_start_, row_of_, position_;
  std::shared_ptr<Parameter> values_;
  std::shared_ptr<PreparedWeight> prepared_;
};

/// W = U V with U [out, r] and V [r, in], each of any kind (low rank of sparse comes free).
class LowRankWeight final : public LinearWeight {
 public:
  LowRankWeight(std::shared_ptr<LinearWeight> u, std::shared_ptr<LinearWeight> v);
  std::int64_t out() const override { return u_->out(); }
  std::int64_t in() const override { return v_->in(); }
  std::int64_t rank() const { return v_->out(); }
  std::string_view kind() const override { return "low_rank"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override;  ///< path + ".u", path + ".v"
  void structure(const std::string& path, const VisitStructure& part) override;
  void refresh(Backend& backend) override;
  void prepare(Backend& backend) override;
  void prepare_training(Backend& backend) override;
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override { return u_->derived_bytes() + v_->derived_bytes(); }
  std::int64_t multiplies() const override { return u_->multiplies() + v_->multiplies(); }
  std::int64_t nonzeros(Backend& backend) const override { return u_->nonzeros(backend) + v_->nonzeros(backend); }
  std::string kernel() const override { return u_->kernel() + " · " + v_->kernel(); }
  bool takes_between_products() const override { return u_->takes_between_products() && v_->takes_between_products(); }
  const std::shared_ptr<LinearWeight>& u() const { return u_; }
  const std::shared_ptr<LinearWeight>& v() const { return v_; }

 private:
  std::shared_ptr<LinearWeight> u_, v_;
};

}  // namespace bertx
