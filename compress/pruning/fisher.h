// The empirical Fisher matrix of a weight, in blocks of successive weights, and what its inverse says of pruning
// (Kurtic et al. 2022, 2203.07259).
//
// The paper inverts by one rank-one update for each gradient g, from F⁻¹ = I / damp: q = F⁻¹ g, F⁻¹ -= q qᵀ / (m + gᵀ
// q). That is the inverse of damp · I + (1 / m) Σ g gᵀ (Sherman & Morrison), which is summed up here instead and
// inverted once, by Cholesky, in double: the same numbers from a tenth of the memory traffic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bertx::compress {

class BlockFisher {
 public:
  /// Of `size` weights; the last block may be shorter than the others.
  BlockFisher(std::int64_t size, std::int64_t block);
  static std::size_t bytes(std::int64_t size, std::int64_t block);

  /// F += Σ_k (scale_k g_k)(scale_k g_k)ᵀ, each g_k of `size`. Where `alive` is 0 the gradient counts as 0.
  void add(std::span<const float* const> gradients, std::span<const float> scales, const std::uint8_t* alive);
  /// From the sum over m gradients to the inverse of damp · I + F / m. A block whose largest diagonal element is more
  /// than 1e5 · damp is damped by 1e-5 of that instead: its sums are floats. Throws Error(numeric) for what is not
  /// finite.
  void invert(std::int64_t m, double damp);

  // ---- after invert()
  // ------------------------------------------------------------------------------------------------
  /// What the loss rises by where weight i alone goes: w_i² / (2 [F⁻¹]_ii).
  void scores(const float* w, float* scores) const;
  /// w -= Σ_p F⁻¹_p w_p / [F⁻¹]_pp over the weights p that go, which become exact zeros. `gone` 1: it goes.
  void prune(const std::uint8_t* gone, float* w) const;

 private:
  std::int64_t blocks() const { return (size_ + block_ - 1) / block_; }
  /// body(first weight, count, triangle) for each block, on all threads.
  template <class Body>
  void for_blocks(const Body& body) const;

  std::int64_t size_, block_;
  std::vector<float>
      triangles_;  ///< of each block the lower triangle: of F, then of L⁻¹, where L Lᵀ is damp · I + F / m
};

}  // namespace bertx::compress
