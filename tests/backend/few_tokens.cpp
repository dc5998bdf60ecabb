// Dense products for few columns take another way on the cpu backend than wide ones: every number of columns around
// the change, with rows and depths around a vector's and a tile's.
#include <omp.h>

#include "bertx/arena.h"
#include "scene.h"

namespace bertx::test {
namespace {

class FewTokens : public SubjectTest {};

TEST_P(FewTokens, EveryNumberOfColumnsGivesTheProduct) {
  const auto backend = make_checked();
  Scene s(*backend, 11, 100);
  for (const std::int64_t rows : {1, 2, 15, 17, 40}) {
    for (const std::int64_t depth : {1, 7, 33, 96}) {
      for (std::int64_t columns = 1; columns <= 9; ++columns) {
        const Tensor a = s.matrix(rows, depth), b = s.matrix(depth, columns), c = s.output(rows, columns);
        backend->gemm(Trans::no, Trans::no, a, b, c, Write::overwrite);
        s.trust(c);
        backend->gemm(Trans::no, Trans::no, a, b, c, Write::add);
      }
    }
  }
}

// A model is told another number of threads after its first pass: what was made for the first must not be kept.
TEST_P(FewTokens, AnyNumberOfThreadsGivesTheSame) {
  const auto backend = make();
  Scene s(*backend, 12, 100);
  const int before = omp_get_max_threads();
  for (const std::int64_t columns : {1, 5, 8}) {
    const Tensor a = s.matrix(700, 90), b = s.matrix(90, columns), c = s.output(700, columns);
    std::vector<double> first;
    for (const int threads : {1, 2, 3, 8}) {
      omp_set_num_threads(threads);
      backend->gemm(Trans::no, Trans::no, a, b, c, Write::overwrite);
      if (threads == 1) first = values_of(*backend, c);
      EXPECT_EQ(values_of(*backend, c), first) << columns << " columns on " << threads << " threads";
    }
    EXPECT_TRUE(trusted(first));
  }
  omp_set_num_threads(before);
}

// Columns are rounded up to a vector's within the stride. What lies there is nobody's, but a subnormal number among it
// would make a product take several times as long.
TEST_P(FewTokens, NoProductReadsWhatLiesBehindAnActivation) {
  if (GetParam().backend != "cpu") GTEST_SKIP() << "columns are rounded up on the cpu backend only";
  const auto backend = make();
  Scene s(*backend, 13, 100);
  Arena arena(*backend);
  for (const std::int64_t columns : {9, 20, 31, 33, 63}) {
    const Tensor a = s.matrix(40, 50), b = arena.take(50, columns, DType::f32), c = arena.take(40, columns, DType::f32);
    std::fill_n(b.as<float>(), b.rows * b.stride, 0x1p-140f);
    backend->gemm(Trans::no, Trans::no, a, b, c, Write::overwrite);
    for (std::int64_t i = 0; i < b.rows; ++i) {
      for (std::int64_t t = columns; t < (columns + 15) / 16 * 16; ++t) {
        ASSERT_EQ(b.as<float>()[i * b.stride + t], 0) << columns << " columns, row " << i << ", column " << t;
      }
      ASSERT_EQ(b.as<float>()[i * b.stride + columns - 1], 0x1p-140f);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, FewTokens, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
