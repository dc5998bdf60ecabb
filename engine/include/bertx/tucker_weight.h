// Matrices of all layers as slices of one tensor in Tucker form: W_l = U (Σ_j P_lj G_j) V, with U, V and the cores G_j
// shared by all (Wang et al. 2022, 2205.10036). A wider or higher matrix is several slices [D, D] in blocks.
#pragma once

#include "bertx/weight.h"

namespace bertx {

/// What the weights of one decomposition have in common.
struct TuckerBasis {
  std::shared_ptr<LinearWeight> left, right;  ///< U [D, r1], V [r2, D]
  std::shared_ptr<Parameter> cores;           ///< [J, r1·r2]: in each row one G_j, row by row
};

/// W [rows·D, columns·D] in blocks U C V, C = Σ_j P_j G_j. refresh() makes the C.
class TuckerWeight final : public LinearWeight {
 public:
  /// mix P [rows·columns, J], a line for each block, block row by block row.
  TuckerWeight(TuckerBasis basis, std::shared_ptr<Parameter> mix, std::int64_t rows, std::int64_t columns);
  std::int64_t out() const override { return rows_ * basis_.left->out(); }
  std::int64_t in() const override { return columns_ * basis_.right->in(); }
  std::string_view kind() const override { return "tucker"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  /// path + ".mix", ".cores", ".left", ".right"
  void visit(const std::string& path, const Visit& parameter) override;
  void structure(const std::string& path, const VisitStructure& part) override;
  void refresh(Backend& backend) override;
  /// Multiplies C into U or V, or all three, where that leaves fewer multiplies.
  void prepare(Backend& backend) override;
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override {
    return combined_.buffer.bytes + basis_.left->derived_bytes() + basis_.right->derived_bytes();
  }
  /// After prepare().
  std::int64_t multiplies() const override { return multiplies_of(cheapest()); }
  std::int64_t nonzeros(Backend&) const override { return out() * in(); }
  std::string kernel() const override;
  const TuckerBasis& basis() const { return basis_; }
  const std::shared_ptr<Parameter>& mix() const { return mix_; }

 private:
  enum class Form : std::uint8_t { plain, left, right, whole };  ///< what C was multiplied into
  std::int64_t multiplies_of(Form form) const;
  Form cheapest() const;
  Tensor core(std::int64_t row, std::int64_t column) const;
  void project(Exec& exec, Tensor x, Tensor z) const;
  void combine(Exec& exec, Tensor z, Tensor c) const;
  void expand(Exec& exec, Tensor c, Tensor y, const Epilogue& epilogue) const;

  TuckerBasis basis_;
  std::shared_ptr<Parameter> mix_;
  std::int64_t rows_, columns_, left_rank_, right_rank_;
  Storage combined_;  ///< [rows·columns, r1·r2]: in each row one C
  Form form_ = Form::plain;
  std::shared_ptr<LinearWeight> folded_;
};

}  // namespace bertx
