// Every product of every instruction set against the double reference.
#include <omp.h>

#include <map>
#include <string>

#include "bertx/error.h"
#include "bertx/sparse/packed.h"
#include "bertx/sparse/reference.h"
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
const std::int64_t kTokens[] = {1,  2,  3,  4,  5,  7,  8,  9,   15,  16,  17,  31,
                                33, 48, 63, 64, 65, 77, 96, 113, 128, 129, 200, 300};

class Products : public ::testing::TestWithParam<Isa> {};

INSTANTIATE_TEST_SUITE_P(Isas, Products, ::testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(isa_name(instance.param)); });

std::string describe(const Problem& p, std::int64_t tokens) {
  return text("rows ", p.rows, " cols ", p.cols, " density ", p.density, " tokens ", tokens);
}

/// body(problem, w, tokens, random) for each problem with several token counts, all of which occur over the problems.
template <class Body>
void for_problems(unsigned seed, const Body& body) {
  std::mt19937 random(seed);
  std::size_t turn = 0;
  for (const Problem& p : kProblems) {
    const CsrMatrix<float> w = random_csr(p, random);
    for (int i = 0; i < 8; ++i) {
      const std::int64_t tokens = kTokens[turn++ * 7 % std::size(kTokens)];
      SCOPED_TRACE(describe(p, tokens));
      body(w, tokens, random);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

std::vector<double> row_norms(const CsrMatrix<float>& w) {
  std::vector<double> norms;
  for (std::int64_t r = 0; r < w.rows; ++r) {
    double sum = 0;
    for (auto n = w.row_start[r]; n < w.row_start[r + 1]; ++n) sum += double(w.values[n]) * w.values[n];
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

/// The norm of a token's column; activations are standard normal, so one bound serves all.
double token_norm(std::int64_t length) { return 2 * std::sqrt(double(length)) + 4; }

TEST_P(Products, SpmmAndPackedAgreeWithTheReference) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  for_problems(1, [&](const CsrMatrix<float>& w, std::int64_t tokens, std::mt19937& random) {
    Activations x(w.cols, tokens, std::int64_t(random() % 3) * 7, std::int64_t(random() % 5));
    x.randomize(random);
    std::vector<float> bias(static_cast<std::size_t>(w.rows));
    for (float& b : bias) b = std::normal_distribution<float>()(random);
    const std::vector<double> wide_bias(bias.begin(), bias.end()), wide_x = x.doubles();
    const bool with_bias = random() % 2 == 0;
    std::vector<double> expected(static_cast<std::size_t>(w.rows * tokens));
    Activations residual(w.rows, tokens, std::int64_t(random() % 3), 1);
    residual.randomize(random);
    const std::vector<double> wide_residual = residual.doubles();
    const bool with_residual = random() % 2 == 0;
    const Epilogue<float> epilogue{with_bias ? bias.data() : nullptr, nullptr,
                                   with_residual ? residual.data() : nullptr, residual.stride};
    spmm(widen(w).view(), wide_x.data(), tokens, expected.data(), tokens, tokens,
         {with_bias ? wide_bias.data() : nullptr, nullptr, with_residual ? wide_residual.data() : nullptr, tokens});
    const std::vector<double> norms = row_norms(w);

    Activations y(w.rows, tokens, 5, 3);
    spmm(w.view(), x.data(), x.stride, y.data(), y.stride, tokens, epilogue);
    y.expect_guards_intact();
    for (std::int64_t r = 0; r < w.rows; ++r) {
      const std::int64_t length = w.row_start[r + 1] - w.row_start[r];
      const double allowed =
          tolerance(length + 1, norms[std::size_t(r)] * token_norm(length) + std::abs(bias[std::size_t(r)]) + 4);
      for (std::int64_t t = 0; t < tokens; ++t) {
        ASSERT_NEAR(y.at(r, t), expected[std::size_t(r * tokens + t)], allowed) << "row " << r << " token " << t;
      }
    }
    for (const std::int64_t tile : {0, 1, 13, 64, 5000}) {
      Activations z(w.rows, tokens, 2, 1);
      spmm_packed(pack(w.view(), {tile}), x.data(), x.stride, z.data(), z.stride, tokens, epilogue);
      z.expect_guards_intact();
      ASSERT_EQ(z.doubles(), y.doubles()) << "packed differs from spmm, tile " << tile;
    }
  });
}

TEST_P(Products, SpmmTransposedAgreesWithTheReference) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  for_problems(2, [&](const CsrMatrix<float>& w, std::int64_t tokens, std::mt19937& random) {
    const TransposedIndex t = build_transposed(w.rows, w.cols, w.row_start.data(), w.columns.data());
    Activations dy(w.rows, tokens, std::int64_t(random() % 3) * 7, std::int64_t(random() % 5));
    dy.randomize(random);
    Activations dx(w.cols, tokens, 5, 3);
    dx.randomize(random);
    const bool accumulate = random() % 2 == 0;
    std::vector<double> expected = dx.doubles();
    const std::vector<double> wide_dy = dy.doubles();
    spmm_transposed(widen(w).view(), t.view(), wide_dy.data(), tokens, expected.data(), tokens, tokens, accumulate);
    spmm_transposed(w.view(), t.view(), dy.data(), dy.stride, dx.data(), dx.stride, tokens, accumulate);
    dx.expect_guards_intact();
    for (std::int64_t c = 0; c < w.cols; ++c) {
      double norm = 0;
      const std::int64_t length = t.column_start[std::size_t(c) + 1] - t.column_start[std::size_t(c)];
      for (auto n = t.column_start[c]; n < t.column_start[c + 1]; ++n) norm += std::pow(w.values[t.position[n]], 2);
      const double allowed = tolerance(length, std::sqrt(norm) * token_norm(length) + 4);
      for (std::int64_t i = 0; i < tokens; ++i) {
        ASSERT_NEAR(dx.at(c, i), expected[std::size_t(c * tokens + i)], allowed) << "column " << c << " token " << i;
      }
    }
  });
}

TEST_P(Products, SddmmAgreesWithTheReference) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  for_problems(3, [&](const CsrMatrix<float>& w, std::int64_t tokens, std::mt19937& random) {
    Activations x(w.cols, tokens, std::int64_t(random() % 3) * 7, std::int64_t(random() % 5));
    Activations dy(w.rows, tokens, std::int64_t(random() % 3), std::int64_t(random() % 5));
    x.randomize(random);
    dy.randomize(random);
    std::vector<float> gradient = w.values;  // it is added to
    std::vector<double> expected(gradient.begin(), gradient.end());
    const std::vector<double> wide_dy = dy.doubles(), wide_x = x.doubles();
    sddmm(widen(w).view(), wide_dy.data(), tokens, wide_x.data(), tokens, tokens, expected.data());
    CsrView<float> pattern = w.view();
    pattern.values = nullptr;
    sddmm(pattern, dy.data(), dy.stride, x.data(), x.stride, tokens, gradient.data());
    const double norm = token_norm(tokens) * token_norm(tokens);
    for (std::size_t n = 0; n < gradient.size(); ++n) {
      ASSERT_NEAR(gradient[n], expected[n], tolerance(tokens, norm) + 1e-6) << "place " << n;
    }
  });
}

template <class T>
void square(T* y, std::int64_t ldy, std::int64_t rows, std::int64_t tokens) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t t = 0; t < tokens; ++t) y[r * ldy + t] *= y[r * ldy + t];
  }
}

TEST_P(Products, TheActivationComesOnceAfterTheBiasAndBeforeTheResidual) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  for_problems(8, [&](const CsrMatrix<float>& w, std::int64_t tokens, std::mt19937& random) {
    Activations x(w.cols, tokens, 1, 1), residual(w.rows, tokens, 2, 3);
    x.randomize(random);
    residual.randomize(random);
    std::vector<float> bias(static_cast<std::size_t>(w.rows));
    for (float& b : bias) b = std::normal_distribution<float>()(random);
    Activations y(w.rows, tokens, 5, 3), z(w.rows, tokens, 0, 1), plain(w.rows, tokens, 1, 0);
    const Epilogue<float> epilogue{bias.data(), square<float>, residual.data(), residual.stride};
    spmm(w.view(), x.data(), x.stride, plain.data(), plain.stride, tokens, {bias.data()});
    spmm(w.view(), x.data(), x.stride, y.data(), y.stride, tokens, epilogue);
    spmm_packed(pack(w.view()), x.data(), x.stride, z.data(), z.stride, tokens, epilogue);
    y.expect_guards_intact();
    z.expect_guards_intact();
    for (std::int64_t r = 0; r < w.rows; ++r) {
      for (std::int64_t t = 0; t < tokens; ++t) {
        const float squared = plain.at(r, t) * plain.at(r, t);
        ASSERT_EQ(y.at(r, t), squared + residual.at(r, t)) << "row " << r << " token " << t;
        ASSERT_EQ(z.at(r, t), y.at(r, t)) << "packed, row " << r << " token " << t;
      }
    }
  });
}

TEST_P(Products, AreTheSameForAnyNumberOfThreads) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  const int before = omp_get_max_threads();
  std::mt19937 random(4);
  // Large enough that every product is worth four threads.
  for (const Problem& p : {Problem{400, 500, 0.2}, Problem{700, 300, 0.2, Shape::skewed}}) {
    const CsrMatrix<float> w = random_csr(p, random);
    const TransposedIndex t = build_transposed(w.rows, w.cols, w.row_start.data(), w.columns.data());
    const PackedCsr packed = pack(w.view());
    for (const std::int64_t tokens : {40, 130, 300}) {
      Activations x(w.cols, tokens, 3, 1), dy(w.rows, tokens, 1, 2);
      x.randomize(random);
      dy.randomize(random);
      std::map<std::string, std::vector<double>> first;
      for (int threads = 1; threads <= 4; ++threads) {
        omp_set_num_threads(threads);
        Activations y(w.rows, tokens, 1, 0), z(w.rows, tokens, 0, 1), dx(w.cols, tokens, 2, 0);
        std::vector<float> dw(w.values.size());
        spmm(w.view(), x.data(), x.stride, y.data(), y.stride, tokens);
        spmm_packed(packed, x.data(), x.stride, z.data(), z.stride, tokens);
        spmm_transposed(w.view(), t.view(), dy.data(), dy.stride, dx.data(), dx.stride, tokens);
        sddmm(w.view(), dy.data(), dy.stride, x.data(), x.stride, tokens, dw.data());
        const std::map<std::string, std::vector<double>> now = {{"spmm", y.doubles()},
                                                                {"spmm_packed", z.doubles()},
                                                                {"spmm_transposed", dx.doubles()},
                                                                {"sddmm", {dw.begin(), dw.end()}}};
        if (threads == 1) first = now;
        for (const auto& [name, values] : now) {
          EXPECT_EQ(values, first[name]) << name << " with " << threads << " threads, " << tokens << " tokens";
        }
      }
    }
  }
  omp_set_num_threads(before);
}

TEST_P(Products, ATokenHasTheSameBitsInAnyBatch) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  std::mt19937 random(5);
  const CsrMatrix<float> w = random_csr({150, 333, 0.15}, random);
  const TransposedIndex t = build_transposed(w.rows, w.cols, w.row_start.data(), w.columns.data());
  const PackedCsr packed = pack(w.view());
  constexpr std::int64_t kAll = 300;
  Activations x(w.cols, kAll, 0, 0), y(w.rows, kAll, 0, 0), dx(w.cols, kAll, 0, 0);
  x.randomize(random);
  Activations dy(w.rows, kAll, 0, 0);
  dy.randomize(random);
  spmm(w.view(), x.data(), kAll, y.data(), kAll, kAll);
  spmm_transposed(w.view(), t.view(), dy.data(), kAll, dx.data(), kAll, kAll);
  for (const std::int64_t tokens : kTokens) {
    const std::int64_t first = std::int64_t(random() % std::uint64_t(kAll - tokens + 1));
    Activations a(w.rows, tokens, 0, 0), b(w.rows, tokens, 0, 0), c(w.cols, tokens, 0, 0);
    spmm(w.view(), x.data() + first, kAll, a.data(), tokens, tokens);
    spmm_packed(packed, x.data() + first, kAll, b.data(), tokens, tokens);
    spmm_transposed(w.view(), t.view(), dy.data() + first, kAll, c.data(), tokens, tokens);
    for (std::int64_t i = 0; i < tokens; ++i) {
      for (std::int64_t r = 0; r < w.rows; ++r) {
        ASSERT_EQ(a.at(r, i), y.at(r, first + i)) << "spmm, " << tokens << " tokens";
        ASSERT_EQ(b.at(r, i), y.at(r, first + i)) << "spmm_packed, " << tokens << " tokens";
      }
      for (std::int64_t r = 0; r < w.cols; ++r) {
        ASSERT_EQ(c.at(r, i), dx.at(r, first + i)) << "spmm_transposed, " << tokens << " tokens";
      }
    }
  }
}

TEST_P(Products, PackingHandlesMoreColumnsThanSixteenBitsCount) {
  BERTX_SKIP_UNLESS_SUPPORTED(GetParam());
  const ForcedIsa forced(GetParam());
  std::mt19937 random(6);
  const CsrMatrix<float> w = random_csr({3, 140000, 0.003}, random);
  Activations x(w.cols, 5, 0, 0), y(w.rows, 5, 0, 0), z(w.rows, 5, 0, 0);
  x.randomize(random);
  spmm(w.view(), x.data(), 5, y.data(), 5, 5);
  for (const std::int64_t tile : {0, 300, 4096}) {
    spmm_packed(pack(w.view(), {tile}), x.data(), 5, z.data(), 5, 5);
    EXPECT_EQ(z.doubles(), y.doubles());
  }
}

TEST(Packed, KnowsItsShapeAndIsSmall) {
  std::mt19937 random(7);
  const CsrMatrix<float> w = random_csr({768, 768, 0.1}, random);
  const PackedCsr packed = pack(w.view());
  EXPECT_EQ(packed.rows(), 768);
  EXPECT_EQ(packed.cols(), 768);
  EXPECT_EQ(packed.nnz(), w.view().nnz());
  EXPECT_LT(double(packed.bytes()), 6.6 * double(packed.nnz()));
  EXPECT_EQ(PackedCsr().nnz(), 0);
}

}  // namespace
}  // namespace bertx::sparse::test
