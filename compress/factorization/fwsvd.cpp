// Fisher-weighted SVD (Hsu et al. 2022, 2207.00112): errors of weights that the loss feels more count more.
//
// The best would be to weigh each weight by its own Fisher information I_ij = E (dL/dW_ij)², which has no closed form;
// the paper gives all weights of one input the sum of theirs. It writes W' [in, out] with y = x W' and takes the SVD
// Î W' = A S Bᵀ, Î = diag √(Σ_out I), so that W' ≈ (Î⁻¹ A_r S_r)(B_rᵀ). Here W = W'ᵀ [out, in], y = W x, so an input is
// a column of W:
//
//   W Î = B S Aᵀ,   W̃ = B_r S_r Aᵀ_r Î⁻¹ = B_r B_rᵀ (W Î) Î⁻¹ = B_r B_rᵀ W
//
// and B are the eigenvectors of (W Î)(W Î)ᵀ = W C Wᵀ with C = Î² = diag(Σ_i I_ij): the decomposition of decompose.h in
// that metric, in which ‖(W − W̃) Î‖² is least. Î is not inverted: inputs that the loss never felt are no special case.
#include "calibration/dense_for_gradients.h"
#include "factorization/input_fisher.h"
#include "factorization/methods.h"
#include "pruning/masks.h"

namespace bertx::compress {

std::vector<Eigen::VectorXd> input_fisher(Backend& backend, Model& model, const Calibration& calibration,
                                          const Factorizer& factorizer) {
  DenseForGradients dense(backend, model);
  std::vector<Parameter*> parameters;
  std::vector<Eigen::VectorXd> sums;
  for (const Target& target : factorizer.targets()) {
    Parameter& p = dense.parameter(*target.weight);
    p.grad = make_storage(backend, target.cost.out, target.cost.in, backend.real());
    parameters.push_back(&p);
    sums.push_back(Eigen::VectorXd::Zero(target.cost.in));
  }
  const auto clear = [&](const Pass&) {
    for (const Parameter* p : parameters) backend.fill(p->gradient(), 0.0);
  };
  const auto add = [&](const Pass&) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Tensor gradient = parameters[i]->gradient();
      const HostFloats host(backend, gradient);
      for (std::int64_t row = 0; row < gradient.rows; ++row) {
        const Eigen::Map<const Eigen::VectorXf> numbers(host.data() + row * gradient.cols, gradient.cols);
        sums[i] += numbers.cast<double>().cwiseAbs2();
      }
    }
  };
  run_backward(backend, model, calibration, 1, nullptr, clear, add);
  for (Eigen::VectorXd& sum : sums) sum /= static_cast<double>(calibration.examples.size());
  return sums;
}

void fwsvd_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  Factorizer factorizer(backend, model, recipe);
  const std::vector<Eigen::VectorXd> fisher = input_fisher(backend, model, sample(calibration, recipe), factorizer);
  for (const Target& target : factorizer.targets()) {
    factorizer.factorize(target, diagonal_metric(fisher[factorizer.index_of(target)]));
  }
  factorizer.keep();
}

}  // namespace bertx::compress
