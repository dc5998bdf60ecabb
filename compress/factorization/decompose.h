// The best matrix of lower rank in a metric C of the inputs, which is what the methods of this folder differ by.
//
//   min over W̃ of rank r:  E ‖(W − W̃) x‖² = ‖(W − W̃) C^½‖²   =>   W̃ = U Uᵀ W, U the r top eigenvectors of W C Wᵀ
//
// (Chen et al. 2021, DRONE, theorem 1). C = 1 is the truncated SVD; C = diag(Fisher) the Fisher-weighted one; C = E[x
// xᵀ] the activation-aware one. What is left out costs the sum of its eigenvalues. Nothing is inverted.
#pragma once

#include <Eigen/Core>
#include <functional>

#include "bertx/backend.h"
#include "bertx/weight.h"

namespace bertx::compress {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The weight [out, in] as it acts, whatever its kind.
Matrix matrix_of(Backend& backend, const LinearWeight& weight);
Matrix matrix_of(Backend& backend, Tensor x);
/// A copy on the backend, as a parameter of its own.
std::shared_ptr<Parameter> parameter_of(Backend& backend, const Matrix& matrix);

/// a [k, n] -> a C aᵀ [k, k]. It is asked for a = W where W is not higher than wide, else for a = R of W = Q R.
using Metric = std::function<Matrix(const Matrix& a)>;
/// C = diag(weights [n])
Metric diagonal_metric(Eigen::VectorXd weights);
Metric plain_metric();

struct Spectrum {
  Matrix directions;         ///< U [m, k], orthonormal columns, k = min(m, n)
  Eigen::VectorXd energies;  ///< [k], descending, at least 0: what leaving a direction out costs, squared
};
/// Of W [m, n].
Spectrum decompose(const Matrix& w, const Metric& metric);

/// W ≈ u v: u = U_r S^½ [m, r], v = S^-½ U_rᵀ W [r, n], where S makes each column of u as long as its row of v: so both
/// factors see gradients of one size.
struct Factors {
  Matrix u, v;
};
Factors truncate(const Matrix& w, const Spectrum& spectrum, std::int64_t rank);

/// W ≈ U V + S, S of `nonzeros` entries, by so many alternations; what they leave out never rises.
struct LowRankAndSparse {
  Factors factors;
  Matrix sparse;
};
LowRankAndSparse low_rank_and_sparse(const Matrix& w, std::int64_t rank, std::int64_t nonzeros,
                                     std::int64_t alternations);

/// Two dense matrices, ready to run.
std::shared_ptr<LinearWeight> low_rank_weight(Backend& backend, const Factors& factors);

}  // namespace bertx::compress
