// W∘M where whole blocks of W are kept or not: block movement pruning (Lagunas et al. 2021, 2109.04838).
#pragma once

#include "bertx/weight.h"

namespace bertx {

/// Blocks of a matrix; those at its right and lower edge may be smaller.
struct BlockSize {
  std::int64_t height = 1, width = 1;
  bool operator==(const BlockSize&) const = default;
};
/// How many blocks of `size` cover n elements.
inline std::int64_t blocks_of(std::int64_t n, std::int64_t size) { return n == 0 ? 0 : (n - 1) / size + 1; }

/// A mask bit and a score for each block. The score learns by the sum of W∘G over its block (straight-through, also
/// where the block is masked), and several matrices may learn one set of scores. A bias may be masked with its matrix:
/// a value goes where the whole band of blocks beside it is masked, and where a band is one block its score learns by
/// the bias, too. The values under the masks stay.
class BlockMaskedWeight final : public LinearWeight {
 public:
  /// `scores` has one number for each block, block row by block row, in any shape. `bias` [out, 1] is that of the
  /// linear map, or null: not masked.
  BlockMaskedWeight(Backend& backend, std::shared_ptr<Parameter> w, BlockSize block, std::shared_ptr<Parameter> scores,
                    std::shared_ptr<Parameter> bias);
  std::int64_t out() const override { return w_->tensor().rows; }
  std::int64_t in() const override { return w_->tensor().cols; }
  std::string_view kind() const override { return "block_masked"; }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override;
  /// Linear has given the bias its whole gradient before: what a masked value got is taken back.
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override;
  void visit(const std::string& path, const Visit& parameter) override;          ///< path, path + ".scores"
  void structure(const std::string& path, const VisitStructure& part) override;  ///< path + ".mask" (u8, of blocks)
  void refresh(Backend& backend) override;  ///< call it after changing the mask, too
  void materialize(Backend& backend, Tensor out_matrix) const override;
  std::size_t derived_bytes() const override;
  std::int64_t multiplies() const override { return out() * in(); }
  std::int64_t nonzeros(Backend& backend) const override;  ///< weights of blocks that are kept
  std::string kernel() const override { return "dense (block mask)"; }

  BlockSize block() const { return block_; }
  std::int64_t block_rows() const { return blocks_of(out(), block_.height); }
  std::int64_t block_cols() const { return blocks_of(in(), block_.width); }
  const std::shared_ptr<Parameter>& parameter() const { return w_; }
  const std::shared_ptr<Parameter>& scores() const { return scores_; }
  const std::shared_ptr<Parameter>& bias() const { return bias_; }
  Storage& mask() { return mask_; }                             ///< [block_rows, block_cols]
  Tensor masked_bias() const { return masked_bias_.tensor; }    ///< [out, 1]; empty without a bias
  std::vector<std::uint8_t> host_mask(Backend& backend) const;  ///< row by row
  std::int64_t size_of_block(std::int64_t block) const;         ///< weights; blocks count row by row

 private:
  void add_block_sums(Exec& exec, Tensor x, Tensor sums) const;
  void add_bias_grad(Exec& exec, Tensor dy);
  Tensor score_gradient() const;

  std::shared_ptr<Parameter> w_, scores_, bias_;
  BlockSize block_;
  Storage mask_;
  Storage row_blocks_, col_blocks_;   ///< [out, block_rows], [in, block_cols]: 1 where an element is in a block
  Storage kept_, gates_, effective_;  ///< the mask as numbers, of blocks and of weights [out, in]; W∘M
  /// [out, 1]: -1 where the bias is masked; what such a value is to be corrected by; the bias with its zeros
  Storage dropped_, correction_, masked_bias_;
};

}  // namespace bertx
