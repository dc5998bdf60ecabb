#include "pruning/fisher.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "bertx/error.h"
#include "bertx/sparse/isa.h"
#include "bertx/sparse/parallel.h"
#include "pruning/fisher_kernels.h"

namespace bertx::compress {
namespace {

constexpr double precision = 1e-5;  // of a float sum over many gradients, with room to spare

AddOuterProducts* add_outer_products() {
  switch (sparse::active_isa()) {
    case sparse::Isa::avx512: return avx512::add_outer_products;
    case sparse::Isa::avx2: return avx2::add_outer_products;
    case sparse::Isa::portable: break;
  }
  return portable::add_outer_products;
}

// [F⁻¹]_ii for each i: F⁻¹ = L⁻ᵀ L⁻¹.
void inverse_diagonal(const float* triangle, std::int64_t n, double* diagonal) {
  std::fill_n(diagonal, n, 0.0);
  for (std::int64_t i = 0; i < n; ++i) {
    const float* const row = triangle + fisher_row(i);
    for (std::int64_t j = 0; j <= i; ++j) diagonal[j] += static_cast<double>(row[j]) * static_cast<double>(row[j]);
  }
}

}  // namespace

BlockFisher::BlockFisher(std::int64_t size, std::int64_t block)
    : size_(size), block_(block), triangles_(bytes(size, block) / sizeof(float)) {}

std::size_t BlockFisher::bytes(std::int64_t size, std::int64_t block) {
  return static_cast<std::size_t>(size / block * fisher_row(block) + fisher_row(size % block)) * sizeof(float);
}

template <class Body>
void BlockFisher::for_blocks(const Body& body) const {
  sparse::parallel_ranges(blocks(), 8, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t b = first; b < last; ++b) {
      body(b * block_, std::min(block_, size_ - b * block_), b * fisher_row(block_));
    }
  });
}

void BlockFisher::add(std::span<const float* const> gradients, std::span<const float> scales,
                      const std::uint8_t* alive) {
  AddOuterProducts* const kernel = add_outer_products();
  const std::size_t count = gradients.size();
  for_blocks([&](std::int64_t begin, std::int64_t n, std::int64_t triangle) {
    const std::int64_t stride = (n + fisher_lanes - 1) / fisher_lanes * fisher_lanes;
    thread_local std::vector<float> panel;
    panel.assign(count * static_cast<std::size_t>(stride), 0.0f);
    for (std::size_t k = 0; k < count; ++k) {
      float* const v = panel.data() + k * static_cast<std::size_t>(stride);
      const float* const g = gradients[k] + begin;
      for (std::int64_t i = 0; i < n; ++i) v[i] = alive[begin + i] ? scales[k] * g[i] : 0.0f;
    }
    kernel(panel.data(), static_cast<std::int64_t>(count), stride, n, triangles_.data() + triangle);
  });
}

void BlockFisher::invert(std::int64_t m, double damp) {
  const double share = 1.0 / static_cast<double>(std::max<std::int64_t>(1, m));
  for_blocks([&](std::int64_t, std::int64_t n, std::int64_t at) {
    float* const triangle = triangles_.data() + at;
    Eigen::MatrixXd fisher = Eigen::MatrixXd::Zero(n, n);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) fisher(i, j) = share * static_cast<double>(triangle[fisher_row(i) + j]);
    }
    const double largest = fisher.diagonal().maxCoeff(), trace = fisher.trace();
    fisher.diagonal().array() += std::max(damp, precision * largest);
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(fisher);
    if (!std::isfinite(trace) || factor.info() != Eigen::Success) {
      fail(ErrorKind::numeric,
           "calibration: found gradients that make a Fisher matrix without an inverse, expected "
           "finite ones");
    }
    Eigen::MatrixXd inverse = Eigen::MatrixXd::Identity(n, n);
    fisher.triangularView<Eigen::Lower>().solveInPlace(inverse);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) triangle[fisher_row(i) + j] = static_cast<float>(inverse(i, j));
    }
  });
}

void BlockFisher::scores(const float* w, float* scores) const {
  for_blocks([&](std::int64_t begin, std::int64_t n, std::int64_t triangle) {
    thread_local std::vector<double> diagonal;
    diagonal.resize(static_cast<std::size_t>(n));
    inverse_diagonal(triangles_.data() + triangle, n, diagonal.data());
    for (std::int64_t i = 0; i < n; ++i) {
      const auto weight = static_cast<double>(w[begin + i]);
      scores[begin + i] = static_cast<float>(weight * weight / (2.0 * diagonal[static_cast<std::size_t>(i)]));
    }
  });
}

void BlockFisher::prune(const std::uint8_t* gone, float* w) const {
  for_blocks([&](std::int64_t begin, std::int64_t n, std::int64_t at) {
    const float* const triangle = triangles_.data() + at;
    thread_local std::vector<double> v, u;  // v = w_p / [F⁻¹]_pp where p goes, u = L⁻¹ v; then v = L⁻ᵀ u
    v.resize(static_cast<std::size_t>(n));
    u.assign(static_cast<std::size_t>(n), 0.0);
    inverse_diagonal(triangle, n, v.data());
    bool any = false;
    for (std::int64_t i = 0; i < n; ++i) {
      double& x = v[static_cast<std::size_t>(i)];
      x = gone[begin + i] ? static_cast<double>(w[begin + i]) / x : 0.0;
      any |= gone[begin + i] != 0;
    }
    if (!any) return;
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) {
        u[static_cast<std::size_t>(i)] +=
            static_cast<double>(triangle[fisher_row(i) + j]) * v[static_cast<std::size_t>(j)];
      }
    }
    std::fill(v.begin(), v.end(), 0.0);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) {
        v[static_cast<std::size_t>(j)] +=
            static_cast<double>(triangle[fisher_row(i) + j]) * u[static_cast<std::size_t>(i)];
      }
    }
    for (std::int64_t i = 0; i < n; ++i) {
      w[begin + i] = gone[begin + i]
                         ? 0.0f
                         : static_cast<float>(static_cast<double>(w[begin + i]) - v[static_cast<std::size_t>(i)]);
    }
  });
}

}  // namespace bertx::compress
