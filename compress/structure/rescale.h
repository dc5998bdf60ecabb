// What is left of an encoder makes good of what was cut out of it: a factor for each head and neuron, by least squares
// (the mask tuning of Kwon et al. 2022, 2204.09656).
#pragma once

#include "factorization/decompose.h"
#include "structure/rounds.h"

namespace bertx::compress {

/// min over r of ‖Σ_j r_j W_j X_j − (Y' − Y)‖² + damp² s ‖r‖², where Y [H, T] = Σ_j W_j X_j + … is what a map and its
/// residual say now, Y' what they should say, W_j, X_j are the columns and rows of block j, and s is the mean of
/// ‖W_j X_j‖². 1 + r are the factors.
class ScaleFit {
 public:
  /// The map's weight [H, n] with n / block blocks.
  ScaleFit(Backend& backend, const LinearWeight& weight, std::int64_t block);
  /// x [n, T]; y [H, T]; wanted, on the host, [H, T] row by row.
  void add(Tensor x, Tensor y, const std::vector<double>& wanted);
  /// One factor a block.
  std::vector<double> solve(double damp) const;

 private:
  Backend& backend_;
  std::int64_t block_;
  Storage weight_, gram_, products_;  ///< W [H, n]; Σ X Xᵀ [n, n]; Σ_t over each block of (Wᵀ(Y' − Y)) ∘ X [blocks, 1]
  std::vector<double> right_;  ///< the sum of `products_` over all calls
  Arena arena_;
};

/// The weight with its columns times factors, of the same kind. Throws Error(usage) naming `path` for other kinds than
/// dense, masked and csr.
std::shared_ptr<LinearWeight> scaled_columns(Backend& backend, LinearWeight& weight, const std::vector<double>& factors,
                                             const std::string& path);

/// Layer by layer, the attention's heads and then the neurons, so that each sum before a LayerNorm becomes again what
/// it was in `before`, from which the model was cut. As in the paper: damp 1, the first layer's heads are left alone,
/// and where a factor beyond 10 comes out this part and all later ones stay as they are.
void rescale_parts(Backend& backend, Model& model, std::vector<EncoderLayer> before, const Calibration& calibration,
                   std::int64_t batch_size);

}  // namespace bertx::compress
