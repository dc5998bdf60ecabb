// Problems for the sparse kernels on the emulated device, and the double reference beside them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bertx/sparse/bf16.h"
#include "bertx/sparse/csr.h"
#include "bertx/sparse/reference.h"
#include "cuda/launch.h"
#include "cuda/tiled_layout.h"
#include "on_device.h"
#include "sparse/patterns.h"

namespace bertx::sparse::cuda::test {

using sparse::test::Activations;
using sparse::test::Shape;

inline const std::vector<sparse::test::Problem> kProblems = {{1, 1, 1.0},
                                                             {1, 40, 0.5},
                                                             {7, 3, 0.6},
                                                             {33, 65, 0.2},
                                                             {64, 48, 0.1, Shape::skewed},
                                                             {130, 100, 0.15},
                                                             {5, 300, 0.3},
                                                             {140, 9, 0.4},
                                                             {65, 64, 0.0},
                                                             {20, 70, 0.9},
                                                             {45, 129, 0.1, Shape::empty_and_full},
                                                             {256, 70, 0.05, Shape::skewed}};
inline const std::vector<std::int64_t> kTokens = {1, 2, 3, 4, 5, 8, 9, 31, 32, 33, 64, 127, 128, 130, 256, 300};

/// Rounded to bf16 and back.
inline float narrow(float x) { return float_from_bf16(bf16_from_float(x)); }

/// One dense row among thin ones.
inline CsrMatrix<float> with_dense_row(std::int64_t rows, std::int64_t cols, std::mt19937& random) {
  CsrMatrix<float> w;
  w.rows = rows;
  w.cols = cols;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      if (r != rows / 2 && random() % 20 != 0) continue;
      w.columns.push_back(static_cast<std::int32_t>(c));
      w.values.push_back(std::normal_distribution<float>()(random));
    }
    w.row_start.push_back(static_cast<std::int32_t>(w.columns.size()));
  }
  return w;
}

/// Activations in device memory, behind their stride and offset. What is not an activation is NaN, so that it is seen
/// where it enters a result; bf16 ones are those of f32, rounded.
class OnDeviceActivations {
 public:
  OnDeviceActivations(Activations& host, Number number) : host_(host), number_(number) {
    Activations poisoned = host;
    for (float& x : poisoned.memory) {
      if (x == Activations::kGuard) x = std::numeric_limits<float>::quiet_NaN();
    }
    if (number == Number::f32) {
      wide_ = std::make_unique<OnDevice<float>>(poisoned.memory);
      return;
    }
    std::vector<std::uint16_t> narrow_memory;
    for (const float x : poisoned.memory) narrow_memory.push_back(bf16_from_float(x));
    narrow_ = std::make_unique<OnDevice<std::uint16_t>>(narrow_memory);
  }
  Input input() const {
    if (number_ == Number::f32) return {wide_->data() + host_.offset, host_.stride};
    return {narrow_->data() + host_.offset, host_.stride};
  }

 private:
  Activations& host_;
  Number number_;
  std::unique_ptr<OnDevice<float>> wide_;
  std::unique_ptr<OnDevice<std::uint16_t>> narrow_;
};

/// A CSR matrix in device memory.
class OnDeviceCsr {
 public:
  OnDeviceCsr(const CsrMatrix<float>& w, Number number, bool ordered)
      : row_start_(w.row_start),
        columns_(w.columns),
        values_(w.values),
        narrow_values_(narrowed(w.values)),
        order_(longest_first(w.rows, w.row_start.data())) {
    csr = {w.rows, w.cols, w.view().nnz(), row_start_.data(), columns_.data(), nullptr, number, nullptr};
    csr.values = number == Number::f32 ? static_cast<void*>(values_.data()) : narrow_values_.data();
    if (ordered) csr.order = order_.data();
  }
  Csr csr;

 private:
  static std::vector<std::uint16_t> narrowed(const std::vector<float>& values) {
    std::vector<std::uint16_t> out;
    for (const float v : values) out.push_back(bf16_from_float(v));
    return out;
  }
  OnDevice<std::int32_t> row_start_, columns_;
  OnDevice<float> values_;
  OnDevice<std::uint16_t> narrow_values_;
  OnDevice<std::int32_t> order_;
};

/// A tiled matrix in device memory.
class OnDeviceTiled {
 public:
  OnDeviceTiled(const CsrMatrix<float>& w, const TiledOptions& options)
      : OnDeviceTiled(tiled_layout(w.view(), options)) {}
  explicit OnDeviceTiled(const TiledLayout& layout)
      : tiled(layout.shape),
        count(static_cast<std::int64_t>(layout.places.size())),
        places(layout.places),
        rows_of_(layout.rows_of),
        cell_start_(layout.cell_start),
        segments_(layout.segments),
        entries_(layout.entries) {
    tiled.rows_of = rows_of_.data();
    tiled.cell_start = cell_start_.data();
    tiled.segments = segments_.data();
    tiled.entries = entries_.data();
  }
  Tiled tiled;
  std::int64_t count;
  OnDevice<std::int32_t> places;

 private:
  OnDevice<std::int32_t> rows_of_, cell_start_, segments_;
  OnDevice<std::uint32_t> entries_;
};

inline double activation_of(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu_erf: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::relu: return std::max(x, 0.0);
    case Activation::tanh: return std::tanh(x);
  }
  return x;
}

/// A product with everything around it: random input, expected output in double, and what may differ.
struct ProductCase {
  ProductCase(const CsrMatrix<float>& w_, std::int64_t tokens_, Number number_, std::mt19937& random)
      : w(w_),
        tokens(tokens_),
        number(number_),
        aligned(number == Number::bf16 || random() % 2 == 0),
        x(w.cols, tokens, aligned ? (8 - tokens % 8) % 8 : std::int64_t(random() % 5),
          aligned ? 0 : std::int64_t(random() % 3)),
        y(w.rows, tokens, aligned ? (8 - tokens % 8) % 8 : 3, aligned ? 8 : 1),
        residual(w.rows, tokens, aligned ? (8 - tokens % 8) % 8 : 1, aligned ? 4 : 3),
        bias(static_cast<std::size_t>(w.rows)) {
    x.randomize(random);
    y.randomize(random);
    residual.randomize(random);
    for (float& b : bias) b = std::normal_distribution<float>()(random);
    has_bias = random() % 2 == 0;
    has_residual = random() % 2 == 0;
    activation = static_cast<Activation>(random() % 5);
    add = random() % 4 == 0;
    y_number = !add && random() % 3 == 0 ? Number::bf16 : Number::f32;
  }

  /// Calls product(x, y, epilogue) with everything in device memory and compares.
  template <class Product>
  void check(const Product& product) {
    const OnDeviceActivations x_there(x, number);
    const OnDeviceActivations residual_there(residual, Number::f32);
    const OnDevice<float> bias_there(bias), y_there(y.memory);
    std::vector<std::uint16_t> narrow_y;
    for (const float v : y.memory) narrow_y.push_back(bf16_from_float(v));
    const OnDevice<std::uint16_t> narrow_y_there(narrow_y);
    Epilogue epilogue;
    if (has_bias) epilogue.bias = bias_there.data();
    if (has_residual) epilogue.residual = residual_there.input();
    epilogue.activation = activation;
    epilogue.add = add;
    const bool bf16 = y_number == Number::bf16;
    void* const place = bf16 ? static_cast<void*>(narrow_y_there.data() + y.offset) : y_there.data() + y.offset;
    const int error = product(x_there.input(), Output{place, y.stride, y_number}, epilogue);
    ASSERT_EQ(error, 0) << cudaGetErrorString(static_cast<cudaError_t>(error));
    const Activations before = y;
    if (bf16) {
      const std::vector<std::uint16_t> values = narrow_y_there.values();
      std::ranges::transform(values, y.memory.begin(), float_from_bf16);
    } else {
      y.memory = y_there.values();
    }
    y.expect_guards_intact();
    compare(before);
    y = before;
  }

  const CsrMatrix<float>& w;
  std::int64_t tokens;
  Number number, y_number;
  bool aligned;
  Activations x, y, residual;
  std::vector<float> bias;
  bool has_bias, has_residual, add;
  Activation activation;

 private:
  void compare(Activations before) {
    const auto input = [this](float v) { return double(number == Number::f32 ? v : narrow(v)); };
    for (std::int64_t r = 0; r < w.rows; ++r) {
      for (std::int64_t t = 0; t < tokens; ++t) {
        double sum = has_bias ? bias[std::size_t(r)] : 0.0, size = std::abs(sum) + 1;
        const std::int32_t begin = w.row_start[std::size_t(r)], end = w.row_start[std::size_t(r) + 1];
        for (auto n = std::size_t(begin); n < std::size_t(end); ++n) {
          const double product = input(w.values[n]) * input(x.at(w.columns[n], t));
          sum += product;
          size += std::abs(product);
        }
        double expected = activation_of(activation, sum);
        if (has_residual) expected += residual.at(r, t);
        if (add) expected += before.at(r, t);
        // Sums of |products| bound what any order of the sums loses; GELU by tanh and erf add some units.
        double allowed = 0x1p-23 * (8 + 2 * std::sqrt(double(end - begin))) * (size + 4);
        if (y_number == Number::bf16) allowed += 0x1p-8 * (std::abs(expected) + allowed);  // half a unit
        ASSERT_NEAR(y.at(r, t), expected, allowed) << "row " << r << " token " << t << " of " << tokens;
      }
    }
  }
};

}  // namespace bertx::sparse::cuda::test
