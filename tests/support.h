// What tests of all subjects share: the tolerance rule, random numbers, tensors from and to vectors, the gradient
// check.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "bertx/backend.h"
#include "core/tolerance.h"  // bertx::tolerance, the one rule; why it is as it is stands there

namespace bertx::test {

/// Random numbers that are the same on every run and machine.
class RandomSource {
 public:
  explicit RandomSource(std::uint64_t seed) : engine_(seed) {}

  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  ///< in [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal() { return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(2 * std::numbers::pi * uniform()); }
  std::int64_t integer(std::int64_t low, std::int64_t high) {  ///< in [low, high]
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(double probability) { return uniform() < probability; }
  std::vector<double> normals(std::int64_t count, double scale = 1) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = scale * normal();
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

// ---- tensors ------------------------------------------------------------------------------------------------------

/// [rows, cols] of the backend's real type, holding `values` row by row. With padding the stride is that much longer
/// than cols and the scratch between the rows holds NaN, so that a kernel that lets it into a result is found out.
inline Storage make_matrix(Backend& backend, std::int64_t rows, std::int64_t cols, const std::vector<double>& values,
                           std::int64_t padding = 0) {
  Storage storage = make_storage(backend, rows, cols + padding, backend.real());
  if (padding > 0) backend.fill(storage.tensor, std::numeric_limits<double>::quiet_NaN());
  storage.tensor.cols = cols;
  std::vector<double> copy = values;
  EXPECT_EQ(static_cast<std::int64_t>(copy.size()), rows * cols);
  backend.upload(view(copy.data(), rows, cols, DType::f64), storage.tensor);
  return storage;
}
inline Storage random_matrix(Backend& backend, RandomSource& random, std::int64_t rows, std::int64_t cols,
                             double scale = 1, std::int64_t padding = 0) {
  return make_matrix(backend, rows, cols, random.normals(rows * cols, scale), padding);
}
/// [1, n] of i32: ids, labels, starts
inline Storage make_indices(Backend& backend, std::vector<std::int32_t> values) {
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  Storage storage = make_storage(backend, 1, count, DType::i32);
  backend.upload(view(values.data(), 1, count, DType::i32), storage.tensor);
  return storage;
}
/// [rows, cols] of u8
inline Storage make_mask(Backend& backend, std::int64_t rows, std::int64_t cols, std::vector<std::uint8_t> values) {
  Storage storage = make_storage(backend, rows, cols, DType::u8);
  backend.upload(view(values.data(), rows, cols, DType::u8), storage.tensor);
  return storage;
}
/// The elements of a real tensor, row by row.
inline std::vector<double> values_of(Backend& backend, Tensor x) {
  std::vector<double> values(static_cast<std::size_t>(x.size()));
  if (!values.empty()) backend.download(x, view(values.data(), x.rows, x.cols, DType::f64));
  return values;
}

// ---- checks -------------------------------------------------------------------------------------------------------

/// A comparison of zeros proves little: fails where fewer than `least` of the values differ from 0.
inline testing::AssertionResult trusted(const std::vector<double>& values, double least = 0.1) {
  const auto nonzero = std::count_if(values.begin(), values.end(), [](double value) { return value != 0; });
  if (static_cast<double>(nonzero) >= least * static_cast<double>(values.size())) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "MISTRUSTED: only " << nonzero << " of " << values.size()
                                     << " values are nonzero";
}

/// Each element within tolerance(type, n, magnitude) of what is wanted.
inline testing::AssertionResult all_near(const std::vector<double>& got, const std::vector<double>& want, DType type,
                                         std::int64_t n, double magnitude) {
  if (got.size() != want.size()) {
    return testing::AssertionFailure() << got.size() << " values, expected " << want.size();
  }
  const double accepted = tolerance(type, n, magnitude);
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(std::abs(got[i] - want[i]) <= accepted)) {
      return testing::AssertionFailure() << "element " << i << " is " << got[i] << ", expected " << want[i]
                                         << " within " << accepted;
    }
  }
  return testing::AssertionSuccess();
}

struct GradientCheck {
  double step = 1e-5;                ///< of the central difference; its error is about step² + epsilon / step
  double accepted = 1e-7;            ///< relative to the largest element of the gradient, or 1
  double least_nonzero = 0.1;        ///< share of the gradient, see trusted()
  std::int64_t most_elements = 400;  ///< of x that are probed, evenly spread
};

/// Compares `gradient` with central differences of `function`, a scalar function of the elements of x. x and gradient
/// are f64 in host memory and of one shape; function sees the changed x. x is left as it was.
inline testing::AssertionResult gradient_agrees(const std::function<double()>& function, Tensor x, Tensor gradient,
                                                GradientCheck check = {}) {
  if (x.rows != gradient.rows || x.cols != gradient.cols) {
    return testing::AssertionFailure() << "gradient of another shape";
  }
  std::vector<double> analytic;
  double largest = 1;
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < x.cols; ++j) {
      analytic.push_back(gradient.as<double>()[i * gradient.stride + j]);
      largest = std::max(largest, std::abs(analytic.back()));
    }
  }
  if (const auto verdict = trusted(analytic, check.least_nonzero); !verdict) return verdict;
  const std::int64_t stride = std::max<std::int64_t>(1, x.size() / std::max<std::int64_t>(1, check.most_elements));
  for (std::int64_t e = 0; e < x.size(); e += stride) {
    double& element = x.as<double>()[e / x.cols * x.stride + e % x.cols];
    const double original = element;
    element = original + check.step;
    const double above = function();
    element = original - check.step;
    const double below = function();
    element = original;
    const double numeric = (above - below) / (2 * check.step), found = analytic[static_cast<std::size_t>(e)];
    if (!(std::abs(numeric - found) <= check.accepted * largest)) {
      return testing::AssertionFailure() << "gradient [" << e / x.cols << ", " << e % x.cols << "] is " << found
                                         << ", central difference " << numeric;
    }
  }
  return testing::AssertionSuccess();
}

// ---- files --------------------------------------------------------------------------------------------------------

/// A new empty directory that is removed with its content at the end of the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bertx-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot create " + pattern);
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Golden files too large for the repository: $BERTX_SHARED/<name>, else <repository>/../shared/<name>, where it
/// exists.
inline std::optional<std::filesystem::path> shared_path(const std::string& name) {
  const char* set = std::getenv("BERTX_SHARED");
  const std::filesystem::path root =
      set ? std::filesystem::path(set) : std::filesystem::path(BERTX_SOURCE_DIR) / ".." / "shared";
  if (std::filesystem::exists(root / name)) return root / name;
  return std::nullopt;
}

}  // namespace bertx::test

/// Ends a test as skipped, saying why, where golden files are not there.
#define BERTX_SKIP_WITHOUT_SHARED(name)  \
  if (!::bertx::test::shared_path(name)) \
  GTEST_SKIP() << "no golden files \"" << (name) << "\": set BERTX_SHARED to the directory that has them"
