#include "factorization/decompose.h"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>

#include "bertx/error.h"

namespace bertx::compress {

Matrix matrix_of(Backend& backend, Tensor x) {
  Matrix out(x.rows, x.cols);
  if (x.size() > 0) backend.download(x, view(out.data(), x.rows, x.cols, DType::f64));
  return out;
}

Matrix matrix_of(Backend& backend, const LinearWeight& weight) {
  const Storage dense = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, dense.tensor);
  return matrix_of(backend, dense.tensor);
}

std::shared_ptr<Parameter> parameter_of(Backend& backend, const Matrix& matrix) {
  auto parameter = std::make_shared<Parameter>();
  parameter->value = make_storage(backend, matrix.rows(), matrix.cols(), backend.real());
  Matrix host = matrix;
  if (host.size() > 0) {
    backend.upload(view(host.data(), host.rows(), host.cols(), DType::f64), parameter->tensor());
  }
  return parameter;
}

Metric diagonal_metric(Eigen::VectorXd weights) {
  return [weights = std::move(weights)](const Matrix& a) -> Matrix { return a * weights.asDiagonal() * a.transpose(); };
}

Metric plain_metric() {
  return [](const Matrix& a) -> Matrix { return a * a.transpose(); };
}

Spectrum decompose(const Matrix& w, const Metric& metric) {
  // 1. Where W is higher than wide its columns span n of the m directions of the outputs: Q.
  Matrix basis, inner = w;
  if (w.rows() > w.cols()) {
    const Eigen::HouseholderQR<Matrix> qr(w);
    basis = qr.householderQ() * Matrix::Identity(w.rows(), w.cols());
    inner = qr.matrixQR().topRows(w.cols()).triangularView<Eigen::Upper>();
  }

  // 2. Eigenvectors of W C Wᵀ = Q (R C Rᵀ) Qᵀ, the largest first.
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(metric(inner));
  if (solver.info() != Eigen::Success) {
    fail(ErrorKind::numeric, "factorization: the eigenvectors of a matrix [", w.rows(), ", ", w.cols(),
         "] do not converge, expected finite weights and inputs");
  }
  Spectrum out;
  out.energies = solver.eigenvalues().reverse().cwiseMax(0.0);
  const Matrix directions = solver.eigenvectors().rowwise().reverse();
  out.directions = w.rows() > w.cols() ? Matrix(basis * directions) : directions;
  return out;
}

Factors truncate(const Matrix& w, const Spectrum& spectrum, std::int64_t rank) {
  Factors out;
  out.u = spectrum.directions.leftCols(rank);
  out.v = out.u.transpose() * w;
  for (std::int64_t i = 0; i < rank; ++i) {
    const double length = out.v.row(i).norm();
    if (length == 0) continue;
    out.u.col(i) *= std::sqrt(length);
    out.v.row(i) /= std::sqrt(length);
  }
  return out;
}

std::shared_ptr<LinearWeight> low_rank_weight(Backend& backend, const Factors& factors) {
  auto weight = std::make_shared<LowRankWeight>(std::make_shared<DenseWeight>(parameter_of(backend, factors.u), false),
                                                std::make_shared<DenseWeight>(parameter_of(backend, factors.v), false));
  weight->refresh(backend);
  return weight;
}

}  // namespace bertx::compress
