// Random CSR problems and the comparisons that every kernel test shares.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "bertx/sparse/csr.h"
#include "bertx/sparse/isa.h"

namespace bertx::sparse::test {

/// Restores the instruction set that was active.
class ForcedIsa {
 public:
  explicit ForcedIsa(Isa isa) { force_isa(isa); }
  ForcedIsa(Isa isa, bool bf16_dot) { force_isa(isa, bf16_dot); }
  ~ForcedIsa() { force_isa(before_, bf16_before_); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;

 private:
  Isa before_ = active_isa();
  bool bf16_before_ = active_bf16_dot();
};

/// Skips the test with a reason where this processor lacks the set.
#define BERTX_SKIP_UNLESS_SUPPORTED(isa)                                                          \
  if ((isa) > ::bertx::sparse::detected_isa()) {                                                  \
    GTEST_SKIP() << "this processor lacks " << ::bertx::sparse::isa_name(isa) << "; its best is " \
                 << ::bertx::sparse::isa_name(::bertx::sparse::detected_isa());                   \
  }

enum class Shape { even, skewed, empty_and_full };

struct Problem {
  std::int64_t rows, cols;
  double density;
  Shape shape = Shape::even;
};

/// A matrix with standard normal values; `skewed` has dense first rows and thin last ones, `empty_and_full` makes
/// every third row empty and every fifth one full.
inline CsrMatrix<float> random_csr(const Problem& p, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  CsrMatrix<float> w;
  w.rows = p.rows;
  w.cols = p.cols;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    double density = p.density;
    if (p.shape == Shape::skewed) density = std::min(1.0, 3 * p.density * std::exp(-4.0 * double(r) / double(p.rows)));
    if (p.shape == Shape::empty_and_full) density = r % 3 == 0 ? 0 : r % 5 == 0 ? 1 : density;
    for (std::int64_t c = 0; c < p.cols; ++c) {
      if (uniform(random) >= density) continue;
      w.columns.push_back(static_cast<std::int32_t>(c));
      w.values.push_back(normal(random));
    }
    w.row_start.push_back(static_cast<std::int32_t>(w.columns.size()));
  }
  return w;
}

template <class T>
struct Wide {
  std::vector<T> values;
  const CsrMatrix<float>& from;
  CsrView<T> view() const { return {from.rows, from.cols, from.row_start.data(), from.columns.data(), values.data()}; }
};

inline Wide<double> widen(const CsrMatrix<float>& w) { return {{w.values.begin(), w.values.end()}, w}; }

/// Activations [features, tokens] behind a stride, beginning `offset` floats into their memory; all that is not an
/// activation holds a guard.
struct Activations {
  static constexpr float kGuard = -12352.0f;  // bf16 has it, too
  std::int64_t features, tokens, stride, offset;
  std::vector<float> memory;

  Activations(std::int64_t features_, std::int64_t tokens_, std::int64_t gap, std::int64_t offset_)
      : features(features_),
        tokens(tokens_),
        stride(tokens_ + gap),
        offset(offset_),
        memory(static_cast<std::size_t>(offset_ + features_ * (tokens_ + gap) + 1), kGuard) {}

  void randomize(std::mt19937& random) {
    std::normal_distribution<float> normal;
    for (std::int64_t f = 0; f < features; ++f) {
      for (std::int64_t t = 0; t < tokens; ++t) at(f, t) = normal(random);
    }
  }
  float* data() { return memory.data() + offset; }
  float& at(std::int64_t f, std::int64_t t) { return memory[static_cast<std::size_t>(offset + f * stride + t)]; }
  std::vector<double> doubles() {
    std::vector<double> out;
    for (std::int64_t f = 0; f < features; ++f) {
      for (std::int64_t t = 0; t < tokens; ++t) out.push_back(at(f, t));
    }
    return out;
  }
  void expect_guards_intact() {
    for (std::int64_t i = 0; i < std::int64_t(memory.size()); ++i) {
      const std::int64_t inside = i - offset;
      if (inside >= 0 && inside < features * stride && inside % stride < tokens) continue;
      ASSERT_EQ(memory[static_cast<std::size_t>(i)], kGuard)
          << "element " << inside << " was written, stride " << stride;
    }
  }
};

/// How far a float sum of `length` products may lie from the exact one; `norm` is |a||b| of the operands. The
/// project's rule for f32 (bertx::tolerance), said again because these tests build without the engine.
inline double tolerance(std::int64_t length, double norm) {
  return 0x1p-23 * (8 + 2 * std::sqrt(double(length))) * norm + 0x1p-126;
}

}  // namespace bertx::sparse::test
