// Sums of outer products of short vectors, compiled once per instruction set.
//
// The lower triangle of a symmetric [n, n] is stored row after row; row i has its first i + 1 columns, rounded up to
// 16: it begins at fisher_row(i), and the triangle takes fisher_row(n) floats.
#pragma once

#include <cstdint>

namespace bertx::compress {

constexpr std::int64_t fisher_lanes = 16;
constexpr std::int64_t fisher_row(std::int64_t i) {
  const std::int64_t q = i / fisher_lanes, r = i % fisher_lanes;
  return fisher_lanes * (fisher_lanes * q * (q + 1) / 2 + r * (q + 1));
}

/// triangle += Σ_k v_k v_kᵀ of `count` vectors, v_k at panel + k · stride, with zeros from n up to stride, which is n
/// rounded up to 16.
using AddOuterProducts = void(const float* panel, std::int64_t count, std::int64_t stride, std::int64_t n,
                              float* triangle);
namespace portable {
AddOuterProducts add_outer_products;
}
namespace avx2 {
AddOuterProducts add_outer_products;
}
namespace avx512 {
AddOuterProducts add_outer_products;
}

}  // namespace bertx::compress
