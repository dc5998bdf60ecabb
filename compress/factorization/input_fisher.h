// What the loss says of the inputs of a matrix.
#pragma once

#include <vector>

#include "factorization/factorizer.h"

namespace bertx::compress {

/// For each target [in]: the mean over examples of Σ_i (dL/dW_ij)², the diagonal of the empirical Fisher information of
/// the weights that act on input j. One example at a time, as the paper's formula has it.
std::vector<Eigen::VectorXd> input_fisher(Backend& backend, Model& model, const Calibration& calibration,
                                          const Factorizer& factorizer);

}  // namespace bertx::compress
