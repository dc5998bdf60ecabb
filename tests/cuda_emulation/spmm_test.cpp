// The sparse products' kernels against the products in double: shapes, strides, types, epilogues, orders of threads.
#include <gtest/gtest-spi.h>

#include "cuda/tiling.h"
#include "sparse_problems.h"

namespace bertx::sparse::cuda::test {
namespace {

/// Calls body(w, tokens, number, random) for all problems, each with some numbers of tokens of kTokens.
template <class Body>
void for_cases(std::uint32_t seed, const Body& body) {
  std::mt19937 random(seed);
  std::size_t next = 0;
  const auto some_tokens = [&](const CsrMatrix<float>& w) {
    for (int i = 0; i < 4; ++i) {
      const std::int64_t tokens = kTokens[next++ % kTokens.size()];
      for (const Number number : {Number::f32, Number::bf16}) {
        SCOPED_TRACE(std::to_string(w.rows) + " x " + std::to_string(w.cols) + ", " + std::to_string(tokens) +
                     " tokens, " + (number == Number::f32 ? "f32" : "bf16"));
        body(w, tokens, number, random);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  };
  for (const sparse::test::Problem& p : kProblems) {
    some_tokens(sparse::test::random_csr(p, random));
    if (::testing::Test::HasFatalFailure()) return;
  }
  some_tokens(with_dense_row(50, 150, random));
}

TEST(CudaSpmm, EveryFormAgreesWithTheProductInDouble) {
  const Emulation emulation({.seed = 3});
  for_cases(1, [](const CsrMatrix<float>& w, std::int64_t tokens, Number number, std::mt19937& random) {
    const OnDeviceCsr there(w, number, random() % 2 == 0);
    for (const Form form : {Form::few, Form::rows_8, Form::rows_32, Form::rows_128, Form::rows_256}) {
      if (form == Form::few && tokens > kFewTokens) continue;
      if (form == Form::rows_256 && number == Number::f32) continue;
      SCOPED_TRACE("form " + std::to_string(int(form)));
      ProductCase one(w, tokens, number, random);
      one.check([&](Input x, Output y, const Epilogue& epilogue) {
        return spmm(nullptr, there.csr, x, y, tokens, epilogue, form);
      });
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(CudaSpmm, TilesAgreeWithTheProductInDouble) {
  const Emulation emulation({.seed = 4});
  for_cases(2, [](const CsrMatrix<float>& w, std::int64_t tokens, Number number, std::mt19937& random) {
    const int tile_columns[] = {1, 7, 32, 64, 100}, warps[] = {1, 3, 16};
    const OnDeviceTiled there(w, {tile_columns[random() % 5], warps[random() % 3], number});
    ProductCase one(w, tokens, number, random);
    one.check([&](Input x, Output y, const Epilogue& epilogue) {
      return spmm_tiled(nullptr, there.tiled, x, y, tokens, epilogue);
    });
  });
}

TEST(CudaSpmm, TheTransposedProductTakesPermutedValues) {
  const Emulation emulation({.seed = 5});
  for_cases(3, [](const CsrMatrix<float>& w, std::int64_t tokens, Number number, std::mt19937& random) {
    if (number == Number::bf16) return;
    const TransposedIndex t = build_transposed(w.rows, w.cols, w.row_start.data(), w.columns.data());
    CsrMatrix<float> transposed{w.cols, w.rows, t.column_start, t.row_of, {}};
    for (const std::int32_t place : t.position) transposed.values.push_back(w.values[std::size_t(place)]);
    const OnDevice<std::int32_t> column_start(t.column_start), row_of(t.row_of), position(t.position);
    const OnDevice<float> values(w.values), permuted(w.values.size());
    ASSERT_EQ(permute(nullptr, values.data(), position.data(), w.view().nnz(), permuted.data()), 0);
    const Csr there{w.cols, w.rows, w.view().nnz(), column_start.data(), row_of.data(), permuted.data()};
    ProductCase one(transposed, tokens, Number::f32, random);
    one.check([&](Input x, Output y, const Epilogue& epilogue) {
      return spmm(nullptr, there, x, y, tokens, epilogue, usual_form(w.cols, tokens, Number::f32));
    });
  });
}

TEST(CudaSpmm, NewValuesComeIntoTheTiles) {
  const Emulation emulation({});
  std::mt19937 random(4);
  for (const Number number : {Number::f32, Number::bf16}) {
    CsrMatrix<float> w = sparse::test::random_csr({70, 90, 0.2}, random);
    const OnDeviceTiled there(w, {32, 4, number});
    for (float& v : w.values) v = std::normal_distribution<float>()(random);
    const OnDevice<float> values(w.values);
    ASSERT_EQ(update_tiled(nullptr, there.tiled, values.data(), there.places.data(), there.count), 0);
    ProductCase one(w, 40, number, random);
    one.check([&](Input x, Output y, const Epilogue& epilogue) {
      return spmm_tiled(nullptr, there.tiled, x, y, 40, epilogue);
    });
  }
}

TEST(CudaSpmm, AFormThatCannotIsAnError) {
  const Emulation emulation({});
  std::mt19937 random(5);
  const CsrMatrix<float> w = sparse::test::random_csr({40, 400, 0.9}, random);
  const OnDeviceCsr there(w, Number::f32, false);
  const OnDevice<float> x(400 * 300), y(40 * 300);
  const auto with = [&](Form form) {
    return spmm(nullptr, there.csr, {x.data(), 300}, {y.data(), 300}, 300, {}, form);
  };
  EXPECT_NE(with(Form::few), 0);
  EXPECT_NE(with(Form::rows_256), 0);
  EXPECT_EQ(with(Form::rows_128), 0);
  const OnDeviceTiled wide(w, {400, 5, Number::f32});  // 400 columns of 128 tokens, twice
  EXPECT_FALSE(tiled_fits(wide.tiled));
  EXPECT_NE(spmm_tiled(nullptr, wide.tiled, {x.data(), 300}, {y.data(), 300}, 300, {}), 0);
}

/// Each comparison is shown to fail where the matrix, the layout or the activations are another.
TEST(CudaSpmm, PlantedErrorsAreFound) {
  const Emulation emulation({});
  std::mt19937 random(6);
  const CsrMatrix<float> w = sparse::test::random_csr({40, 50, 0.3}, random);
  const auto fails = [&](const auto& product) {
    ::testing::TestPartResultArray results;
    {
      ::testing::ScopedFakeTestPartResultReporter reporter(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
      ProductCase one(w, 33, Number::f32, random);
      one.check(product);
    }
    return results.size() > 0;
  };
  const auto tiled = [](const OnDeviceTiled& there) {
    return [&there](Input x, Output y, const Epilogue& epilogue) {
      return spmm_tiled(nullptr, there.tiled, x, y, 33, epilogue);
    };
  };
  TiledLayout layout = tiled_layout(w.view(), {16, 2, Number::f32});
  EXPECT_FALSE(fails(tiled(OnDeviceTiled(layout))));
  const auto first =
      std::size_t(std::ranges::find_if(layout.places, [](int p) { return p >= 0; }) - layout.places.begin());
  ++layout.entries[2 * first];  // a column
  EXPECT_TRUE(fails(tiled(OnDeviceTiled(layout))));
  --layout.entries[2 * first];
  for (std::size_t s = 0; s < layout.segments.size(); s += 2) {
    if (layout.segments[s + 1] > layout.segments[s]) {
      --layout.segments[s + 1];  // a nonzero less
      break;
    }
  }
  EXPECT_TRUE(fails(tiled(OnDeviceTiled(layout))));

  CsrMatrix<float> other = w;
  other.values[7] += 0.1f;
  for (const CsrMatrix<float>* matrix : {&w, const_cast<const CsrMatrix<float>*>(&other)}) {
    const OnDeviceCsr there(*matrix, Number::f32, true);
    const bool found = fails([&](Input x, Output y, const Epilogue& epilogue) {
      return spmm(nullptr, there.csr, x, y, 33, epilogue, Form::rows_32);
    });
    EXPECT_EQ(found, matrix == &other);
  }
}

}  // namespace
}  // namespace bertx::sparse::cuda::test
