// The weight gradient's kernel, and values moved between layouts.
#include "sparse_problems.h"

namespace bertx::sparse::cuda::test {
namespace {

/// How far the kernel's dvalues lie from the exact ones, in units of what is allowed: at most 1 where it is right.
double sddmm_error(const CsrMatrix<float>& w, std::int64_t tokens, std::mt19937& random, bool planted = false) {
  const bool aligned = random() % 2 == 0;
  const std::int64_t gap = aligned ? (4 - tokens % 4) % 4 : 3;
  Activations dy(w.rows, tokens, gap, aligned ? 4 : 1), x(w.cols, tokens, gap, aligned ? 0 : 2);
  dy.randomize(random);
  x.randomize(random);
  std::vector<double> expected(w.values.begin(), w.values.end());  // it is added to
  const std::vector<double> wide_dy = dy.doubles(), wide_x = x.doubles();
  const CsrView<double> pattern{w.rows, w.cols, w.row_start.data(), w.columns.data(), nullptr};
  sddmm_reference(pattern, wide_dy.data(), tokens, wide_x.data(), tokens, tokens, expected.data());
  if (planted) x.at(w.columns[0], tokens - 1) += 0.5f;
  const OnDeviceActivations dy_there(dy, Number::f32), x_there(x, Number::f32);
  const OnDeviceCsr there(w, Number::f32, random() % 2 == 0);
  const OnDevice<float> gradient(w.values);
  EXPECT_EQ(sddmm(nullptr, there.csr, dy_there.input(), x_there.input(), tokens, gradient.data()), 0);
  const std::vector<float> found = gradient.values();
  const double allowed = sparse::test::tolerance(tokens, double(tokens) + 8 * std::sqrt(double(tokens))) + 1e-6;
  double largest = 0;
  for (std::size_t n = 0; n < found.size(); ++n) {
    const double error = std::abs(found[n] - expected[n]) / allowed;
    largest = error <= largest ? largest : error;  // NaN counts
  }
  return largest;
}

TEST(CudaSddmm, AgreesWithTheReference) {
  const Emulation emulation({.seed = 7});
  std::mt19937 random(1);
  std::size_t next = 0;
  for (const sparse::test::Problem& p : kProblems) {
    const CsrMatrix<float> w = sparse::test::random_csr(p, random);
    for (int i = 0; i < 4; ++i) {
      const std::int64_t tokens = kTokens[next++ % kTokens.size()];
      ASSERT_LE(sddmm_error(w, tokens, random), 1.0) << p.rows << " x " << p.cols << ", " << tokens << " tokens";
    }
  }
  const CsrMatrix<float> w = with_dense_row(12, 90, random);
  for (const std::int64_t tokens : {511, 512, 513, 1100}) ASSERT_LE(sddmm_error(w, tokens, random), 1.0);
}

TEST(CudaSddmm, APlantedErrorIsFound) {
  const Emulation emulation({});
  std::mt19937 random(2);
  const CsrMatrix<float> w = sparse::test::random_csr({20, 30, 0.3}, random);
  EXPECT_LE(sddmm_error(w, 40, random), 1.0);
  EXPECT_GT(sddmm_error(w, 40, random, true), 1.0);
}

TEST(CudaValues, DenseHoldsTheNonzerosAndGivesThemBack) {
  const Emulation emulation({});
  std::mt19937 random(3);
  for (const sparse::test::Problem& p : kProblems) {
    const CsrMatrix<float> w = sparse::test::random_csr(p, random);
    const std::int64_t stride = w.cols + 3;
    const auto size = static_cast<std::size_t>(w.rows * stride);
    std::vector<float> expected(size, -1.0f), doubled = w.values;
    csr_to_dense(w.view(), expected.data(), stride);
    for (float& v : doubled) v *= 2;
    const OnDeviceCsr there(w, Number::f32, false), narrow_there(w, Number::bf16, false);
    const OnDevice<float> dense(std::vector<float>(size, -1.0f)), values(w.values);
    const OnDevice<std::uint16_t> narrow_dense(size);
    ASSERT_EQ(to_dense(nullptr, there.csr, dense.data(), stride), 0);
    ASSERT_EQ(to_dense(nullptr, narrow_there.csr, narrow_dense.data(), stride), 0);
    ASSERT_EQ(add_gathered(nullptr, there.csr, {dense.data(), stride}, values.data()), 0);
    EXPECT_EQ(dense.values(), expected);
    EXPECT_EQ(values.values(), doubled);
    const std::vector<std::uint16_t> halves = narrow_dense.values();
    for (std::int64_t r = 0; r < w.rows; ++r) {
      for (std::int64_t c = 0; c < w.cols; ++c) {
        const auto i = static_cast<std::size_t>(r * stride + c);
        ASSERT_EQ(halves[i], bf16_from_float(expected[i]));
      }
    }
  }
}

}  // namespace
}  // namespace bertx::sparse::cuda::test
