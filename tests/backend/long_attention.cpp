// Attention beyond what the random scenes have: heads wider than a kernel's tile, sequences of several tiles.
#include "long_attention.h"

namespace bertx::test {
namespace {

using LongAttention = SubjectTest;

TEST_P(LongAttention, OfWideHeads) {
  const auto backend = make_checked();
  for (const std::int64_t head_dim : {65, 96, 130}) {
    SCOPED_TRACE(head_dim);
    run_attention(*backend, {2, head_dim}, {0, 70, 75, 90});
  }
}

TEST_P(LongAttention, OverManyTiles) { run_attention(*make_checked(), {1, 24}, {0, 3, 3, 260, 261, 300}); }

TEST_P(LongAttention, OverManyTilesInBf16) {
  if (GetParam().backend == "reference") GTEST_SKIP() << "the reference backend rounds nothing";
  const auto backend = make_checked_backend(make_subject(GetParam().backend, {DType::bf16}), make_reference_backend());
  run_attention(*backend, {1, 24}, {0, 3, 3, 260, 261, 300});
}

INSTANTIATE_TEST_SUITE_P(Backends, LongAttention, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
