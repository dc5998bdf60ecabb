// The best matrix of lower rank in a metric: what is left out, and for whom it is the best.
#include <gtest/gtest.h>

#include <Eigen/SVD>

#include "factors_fixture.h"

namespace bertx::compress {
namespace {

Matrix product(const Factors& factors) { return factors.u * factors.v; }

// Wide, square, high: the last goes through W = Q R.
const std::vector<std::pair<std::int64_t, std::int64_t>> shapes{{6, 11}, {8, 8}, {13, 5}};

TEST(Decompose, WhatIsLeftOutCostsItsEigenvalues) {
  for (const auto& [m, n] : shapes) {
    const Matrix w = random_matrix(m, n, 1), c = random_second_moment(n, 2);
    const Spectrum spectrum = decompose(w, metric_of(c));
    const std::int64_t full = std::min(m, n);
    ASSERT_EQ(spectrum.energies.size(), full);
    EXPECT_NEAR(spectrum.energies.sum(), squared_error(w, c), 1e-10 * spectrum.energies.sum());
    for (std::int64_t rank = 1; rank <= full; ++rank) {
      const double left_out = spectrum.energies.tail(full - rank).sum();
      EXPECT_NEAR(squared_error(w - product(truncate(w, spectrum, rank)), c), left_out, 1e-10 * spectrum.energies[0])
          << m << " x " << n << ", rank " << rank;
    }
    EXPECT_TRUE(product(truncate(w, spectrum, full)).isApprox(w, 1e-10));
  }
}

TEST(Decompose, InThePlainMetricItIsTheSvd) {
  for (const auto& [m, n] : shapes) {
    const Matrix w = random_matrix(m, n, 1);
    const Spectrum spectrum = decompose(w, plain_metric());
    const Eigen::JacobiSVD<Eigen::MatrixXd> svd(w, Eigen::ComputeThinU | Eigen::ComputeThinV);
    for (std::int64_t rank = 1; rank <= std::min(m, n); ++rank) {
      const Matrix want = svd.matrixU().leftCols(rank) * svd.singularValues().head(rank).asDiagonal() *
                          svd.matrixV().leftCols(rank).transpose();
      EXPECT_TRUE(product(truncate(w, spectrum, rank)).isApprox(want, 1e-10)) << rank;
      EXPECT_NEAR(spectrum.energies[rank - 1], std::pow(svd.singularValues()[rank - 1], 2), 1e-10);
    }
  }
}

// At one rank the outputs are nearest by the metric of the inputs, the numbers by the plain one.
TEST(Decompose, EachMetricIsTheBestForItself) {
  for (const auto& [m, n] : shapes) {
    const Matrix w = random_matrix(m, n, 1), c = random_second_moment(n, 2), one = Matrix::Identity(n, n);
    const Spectrum by_inputs = decompose(w, metric_of(c)), plain = decompose(w, plain_metric());
    for (std::int64_t rank = 1; rank < std::min(m, n); ++rank) {
      const Matrix drone = w - product(truncate(w, by_inputs, rank)), svd = w - product(truncate(w, plain, rank));
      EXPECT_LT(squared_error(drone, c), 0.999 * squared_error(svd, c)) << rank;
      EXPECT_GT(squared_error(drone, one), 1.001 * squared_error(svd, one)) << rank;
    }
  }
}

// Hsu et al. 2022 as it is written: W' = Wᵀ [in, out], SVD of Î W' = A S Bᵀ, factors Î⁻¹ A_r S_r and B_rᵀ.
TEST(Decompose, ByTheFisherItIsTheWeightedSvdOfThePaper) {
  for (const auto& [m, n] : shapes) {
    const Matrix w = random_matrix(m, n, 1);
    const Eigen::VectorXd fisher = random_matrix(n, 1, 5).cwiseAbs2() + Eigen::VectorXd::Constant(n, 0.01);
    const Spectrum spectrum = decompose(w, diagonal_metric(fisher));
    const Eigen::VectorXd weights = fisher.cwiseSqrt();
    const Eigen::MatrixXd weighted = weights.asDiagonal() * w.transpose();
    const Eigen::JacobiSVD<Eigen::MatrixXd> svd(weighted, Eigen::ComputeThinU | Eigen::ComputeThinV);
    for (std::int64_t rank = 1; rank <= std::min(m, n); ++rank) {
      const Eigen::MatrixXd a = weights.cwiseInverse().asDiagonal() * svd.matrixU().leftCols(rank) *
                                svd.singularValues().head(rank).asDiagonal();
      const Matrix want = (a * svd.matrixV().leftCols(rank).transpose()).transpose();
      EXPECT_TRUE(product(truncate(w, spectrum, rank)).isApprox(want, 1e-9)) << rank;
      if (rank < std::min(m, n)) {  // weights of the outputs instead would be another matrix
        const Spectrum plain = decompose(w, plain_metric());
        EXPECT_FALSE(product(truncate(w, plain, rank)).isApprox(want, 1e-3)) << rank;
      }
    }
  }
}

TEST(Decompose, InputsThatCountNothingAreNoSpecialCase) {
  const Matrix w = random_matrix(6, 9, 1);
  Eigen::VectorXd fisher = Eigen::VectorXd::Ones(9);
  fisher.tail(6).setZero();
  const Spectrum spectrum = decompose(w, diagonal_metric(fisher));
  EXPECT_LT(spectrum.energies.tail(3).sum(), 1e-10);
  const Factors three = truncate(w, spectrum, 3);
  EXPECT_TRUE(product(three).leftCols(3).isApprox(w.leftCols(3), 1e-10));
  EXPECT_TRUE(product(three).allFinite());
  const Factors of_nothing = truncate(w, decompose(w, diagonal_metric(Eigen::VectorXd::Zero(9))), 2);
  EXPECT_TRUE(product(of_nothing).allFinite());
}

TEST(Decompose, FactorsSeeGradientsOfOneSize) {
  const Matrix w = random_matrix(9, 7, 1);
  const Factors factors = truncate(w, decompose(w, plain_metric()), 4);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(factors.u.col(i).norm(), factors.v.row(i).norm(), 1e-12);
}

// ---- low rank and sparse --------------------------------------------------------------------------------------------

double remainder(const Matrix& w, const LowRankAndSparse& found) {
  return (w - product(found.factors) - found.sparse).squaredNorm();
}

TEST(LowRankAndSparse, TheErrorFallsWithAlternationsAndTheSparsePartHasItsCount) {
  const Matrix w = random_matrix(14, 9, 1);
  double last = 1e9, first = 0;
  for (const std::int64_t turns : {0, 1, 2, 5, 10}) {
    const LowRankAndSparse found = low_rank_and_sparse(w, 3, 20, turns);
    EXPECT_EQ((found.sparse.array() != 0).count(), 20);
    EXPECT_EQ(found.factors.u.cols(), 3);
    const double error = remainder(w, found);
    EXPECT_LE(error, last * (1 + 1e-12)) << turns;
    if (turns == 0) first = error;
    last = error;
  }
  EXPECT_LT(last, 0.99 * first) << "alternating changed nothing";
  const double without = (w - product(truncate(w, decompose(w, plain_metric()), 3))).squaredNorm();
  EXPECT_LT(first, without);
}

TEST(LowRankAndSparse, FindsWhatAMatrixIsMadeOf) {
  const Matrix low = 4.0 * random_matrix(20, 2, 1) * random_matrix(2, 16, 2);
  Matrix w = low;
  for (const auto& [i, j] : {std::pair{1, 3}, {7, 0}, {12, 15}, {19, 8}}) w(i, j) += 25.0;
  const LowRankAndSparse found = low_rank_and_sparse(w, 2, 4, 60);
  EXPECT_LT(remainder(w, found), 1e-6);
  EXPECT_NEAR(found.sparse(12, 15), 25.0, 1e-3);
  EXPECT_TRUE(product(found.factors).isApprox(low, 1e-3));
}

}  // namespace
}  // namespace bertx::compress
