// Models and matrices to factorise, and what they are by definition.
#pragma once

#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>
#include <map>
#include <string>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"
#include "factorization/decompose.h"
#include "support.h"
#include "tiny_examples.h"

namespace bertx::compress {
inline namespace factors_fixture {

inline Model tiny_model(Backend& backend) {
  Model model = make_model(backend, test::tiny_config(test::tiny_heads().front()), 3);
  test::randomise_vectors(backend, model, 4);
  return model;
}

inline Matrix random_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  const std::vector<double> numbers = test::RandomSource(seed).normals(rows * cols);
  return Eigen::Map<const Matrix>(numbers.data(), rows, cols);
}

/// C = E[x xᵀ] of inputs that hang together, some more than others.
inline Matrix random_second_moment(std::int64_t n, std::uint64_t seed) {
  const Matrix mix = Matrix::Identity(n, n) + 0.5 * random_matrix(n, n, seed);
  const Matrix x = mix * random_matrix(n, 3 * n, seed + 1);
  return x * x.transpose() / static_cast<double>(3 * n);
}

inline Metric metric_of(const Matrix& c) {
  return [c](const Matrix& a) -> Matrix { return a * c * a.transpose(); };
}

/// ‖D C^½‖²
inline double squared_error(const Matrix& difference, const Matrix& c) {
  return (difference * c * difference.transpose()).trace();
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

inline std::vector<std::pair<std::string, Linear*>> maps_of(Model& model) {
  std::vector<std::pair<std::string, Linear*>> maps;
  model.visit_linears([&](const std::string& path, Linear& linear) { maps.emplace_back(path, &linear); });
  return maps;
}

inline std::map<std::string, int> kinds_of(Model& model) {
  std::map<std::string, int> kinds;
  for (const auto& [path, linear] : maps_of(model)) ++kinds[std::string(linear->weight->kind())];
  return kinds;
}

/// The text of the error of kind usage that this ends in.
inline std::string refusal(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration = {}) {
  try {
    compress_now(backend, model, recipe, calibration);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  return "no error";
}

inline Recipe factors(const std::string& method, std::int64_t rank, bool allow_slower = false) {
  Recipe recipe{.method = method};
  recipe.rank = rank, recipe.allow_slower = allow_slower, recipe.calibration_batch = 4;
  return recipe;
}

}  // namespace factors_fixture
}  // namespace bertx::compress
