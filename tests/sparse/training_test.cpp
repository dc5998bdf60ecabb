// The products of a matrix packed for training: the bits of the plain ones, or the double reference.
#include "bertx/sparse/training.h"

#include <omp.h>

#include "bertx/error.h"
#include "bertx/sparse/spmm.h"
#include "patterns.h"

namespace bertx::sparse::test {
namespace {

const Problem kProblems[] = {
    {64, 64, 0.1},
    {37, 131, 0.3},
    {200, 96, 0.05},
    {5, 300, 1.0},
    {1, 1, 1.0},
    {130, 1, 0.5},
    {1, 257, 0.4},
    {0, 16, 0.5},
    {16, 0, 0.5},
    {40, 40, 0.0},
    {300, 500, 0.02},
    {160, 700, 0.2},
    {97, 384, 0.1, Shape::skewed},
    {91, 210, 0.15, Shape::empty_and_full},
    {3300, 50, 0.08},  // more rows than one pass takes
};
const std::int64_t kTokens[] = {1, 2, 4, 7, 8, 15, 16, 31, 33, 64, 65, 113, 128, 200, 1100};

class Training : public ::testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, Training, ::testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(isa_name(instance.param)); });

/// body(w, its training form, tokens, random), after an update of the values.
template <class Body>
void for_problems(unsigned seed, const Body& body) {
  std::mt19937 random(seed);
  std::size_t turn = 0;
  for (const Problem& p : kProblems) {
    CsrMatrix<float> w = random_csr(p, random);
    for (const std::int64_t tile : {0, 17}) {
      TrainingCsr training(w.view(), {tile});
      for (float& v : w.values) v = std::normal_distribution<float>()(random);
      training.update(w.values.data());
      for (int i = 0; i < 4; ++i) {
        const std::int64_t tokens = kTokens[turn++ * 7 % std::size(kTokens)];
        SCOPED_TRACE(text("rows ", p.rows, " cols ", p.cols, " density ", p.density, " tokens ", tokens));
        body(w, training, tokens, random);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Training, ForwardAndInputGradientHaveTheBitsOfThePlainProducts) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  for_problems(1, [](const CsrMatrix<float>& w, const TrainingCsr& training, std::int64_t tokens,
                     std::mt19937& random) {
    const TransposedIndex t = build_transposed(w.rows, w.cols, w.row_start.data(), w.columns.data());
    Activations x(w.cols, tokens, std::int64_t(random() % 3) * 7, std::int64_t(random() % 5));
    Activations dy(w.rows, tokens, std::int64_t(random() % 3), std::int64_t(random() % 5));
    x.randomize(random);
    dy.randomize(random);
    Activations y(w.rows, tokens, 5, 3), plain_y(w.rows, tokens, 0, 0);
    spmm(training, x.data(), x.stride, y.data(), y.stride, tokens);
    spmm(w.view(), x.data(), x.stride, plain_y.data(), plain_y.stride, tokens);
    y.expect_guards_intact();
    ASSERT_EQ(y.doubles(), plain_y.doubles());
    for (const bool accumulate : {false, true}) {
      Activations dx(w.cols, tokens, 3, 1), plain_dx(w.cols, tokens, 0, 0);
      const auto seed = random();
      std::mt19937 one(seed), other(seed);
      dx.randomize(one);
      plain_dx.randomize(other);
      spmm_transposed(training, dy.data(), dy.stride, dx.data(), dx.stride, tokens, accumulate);
      spmm_transposed(w.view(), t.view(), dy.data(), dy.stride, plain_dx.data(), plain_dx.stride, tokens, accumulate);
      dx.expect_guards_intact();
      ASSERT_EQ(dx.doubles(), plain_dx.doubles()) << "accumulate " << accumulate;
    }
  });
}

TEST_P(Training, WeightGradientAgreesWithTheReference) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  for_problems(2,
               [](const CsrMatrix<float>& w, const TrainingCsr& training, std::int64_t tokens, std::mt19937& random) {
                 Activations x(w.cols, tokens, std::int64_t(random() % 3) * 7, std::int64_t(random() % 5));
                 Activations dy(w.rows, tokens, std::int64_t(random() % 3), std::int64_t(random() % 5));
                 x.randomize(random);
                 dy.randomize(random);
                 std::vector<float> gradient = w.values;  // it is added to
                 std::vector<double> expected(gradient.begin(), gradient.end());
                 const std::vector<double> wide_dy = dy.doubles(), wide_x = x.doubles();
                 sddmm(widen(w).view(), wide_dy.data(), tokens, wide_x.data(), tokens, tokens, expected.data());
                 sddmm(training, dy.data(), dy.stride, x.data(), x.stride, tokens, gradient.data());
                 const double norm = 2 * std::sqrt(double(tokens)) + 4;
                 for (std::size_t n = 0; n < gradient.size(); ++n) {
                   ASSERT_NEAR(gradient[n], expected[n], tolerance(tokens, norm * norm) + 1e-6) << "place " << n;
                 }
               });
}

TEST_P(Training, IsTheSameForAnyNumberOfThreads) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  const int before = omp_get_max_threads();
  std::mt19937 random(4);
  for (const Problem& p : {Problem{700, 300, 0.2, Shape::skewed}, Problem{3300, 50, 0.1}}) {
    const CsrMatrix<float> w = random_csr(p, random);
    const std::int64_t tokens = 130;
    Activations x(w.cols, tokens, 3, 1), dy(w.rows, tokens, 1, 2);
    x.randomize(random);
    dy.randomize(random);
    std::vector<double> first;
    for (int threads = 1; threads <= 8; ++threads) {
      omp_set_num_threads(threads);
      const TrainingCsr training(w.view());
      Activations y(w.rows, tokens, 1, 0), dx(w.cols, tokens, 2, 0);
      std::vector<float> dw(w.values.size());
      spmm(training, x.data(), x.stride, y.data(), y.stride, tokens);
      spmm_transposed(training, dy.data(), dy.stride, dx.data(), dx.stride, tokens);
      sddmm(training, dy.data(), dy.stride, x.data(), x.stride, tokens, dw.data());
      std::vector<double> all = y.doubles();
      for (const double v : dx.doubles()) all.push_back(v);
      all.insert(all.end(), dw.begin(), dw.end());
      if (threads == 1) first = all;
      EXPECT_EQ(all, first) << threads << " threads";
    }
  }
  omp_set_num_threads(before);
}

// The comparisons above would see a value that update() forgot.
TEST(TrainingUpdate, AStaleValueIsSeen) {
  std::mt19937 random(5);
  CsrMatrix<float> w = random_csr({50, 60, 0.3}, random);
  const TrainingCsr training(w.view());
  w.values[w.values.size() / 2] += 1;
  Activations x(w.cols, 20, 0, 0), y(w.rows, 20, 0, 0), plain(w.rows, 20, 0, 0);
  x.randomize(random);
  spmm(training, x.data(), x.stride, y.data(), y.stride, 20);
  spmm(w.view(), x.data(), x.stride, plain.data(), plain.stride, 20);
  EXPECT_NE(y.doubles(), plain.doubles());
}

}  // namespace
}  // namespace bertx::sparse::test
