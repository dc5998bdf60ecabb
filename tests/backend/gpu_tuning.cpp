// The cuda backend's choice among the forms of a weight: taken from what an earlier process has measured, and 2:4 among
// them where a matrix is one.
#include "remembered.h"

namespace bertx::test {
namespace {

using GpuTuning = RememberedTuning;

constexpr std::int64_t kRows = 40, kCols = 72;

TEST_F(GpuTuning, TakesWhatAnEarlierProcessFoundAndTwoOfFourWhereItIs) {
  const auto backend = make_checked_backend(make_cuda({DType::bf16}), make_reference_backend());
  RandomSource random(3);
  std::vector<std::int32_t> starts{0}, columns;
  std::vector<double> values;
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kCols; ++c) {
      if (c % 4 != r % 4 && c % 4 != (r + 2) % 4) continue;
      columns.push_back(static_cast<std::int32_t>(c));
      values.push_back(random.normal());
    }
    starts.push_back(static_cast<std::int32_t>(columns.size()));
  }
  const auto nnz = static_cast<std::int64_t>(columns.size());
  remember(*backend, {kRows, kCols, nnz, "bf16"}, "2:4");

  const Storage row_start = make_indices(*backend, starts), column = make_indices(*backend, columns),
                value = make_matrix(*backend, 1, nnz, values);
  const CsrPattern pattern{kRows, kCols, nnz, row_start.tensor, column.tensor, {}, {}, {}};
  const auto prepared = backend->prepare_csr(pattern, value.tensor);
  EXPECT_EQ(prepared->kernel(), "2:4-bf16");
  ASSERT_EQ(prepared->tuning().size(), 6u * 14);
  Scene s(*backend, 5, 100);
  for (const std::int64_t tokens : {1, 13, 32, 33, 140}) {  // every result is checked
    const Tensor x = s.matrix(kCols, tokens), y = s.output(kRows, tokens);
    backend->apply(*prepared, x, y, {s.vector(kRows), Activation::gelu_erf, s.matrix(kRows, tokens)});
    s.trust(y);
  }
}

// Nothing is remembered: every form is timed and compared for every number of tokens.
TEST_F(GpuTuning, MeasuresWhatNobodyHasMeasured) {
  const auto backend = make_checked_backend(make_cuda({DType::bf16}), make_reference_backend());
  Scene s(*backend, 6, 100);
  const auto prepared = backend->prepare_dense(s.matrix(5, 3));
  EXPECT_EQ(prepared->tuning().size(), 6u * 6);
  const Tensor x = s.matrix(3, 40), y = s.output(5, 40);
  backend->apply(*prepared, x, y, {s.vector(5), Activation::gelu_erf, s.matrix(5, 40)});
  s.trust(y);
}

}  // namespace
}  // namespace bertx::test
