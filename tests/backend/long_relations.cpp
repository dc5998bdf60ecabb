// Relations of tokens beyond what the random scenes have: heads wider than a kernel's tile, sequences of several tiles.
#include "scene.h"

namespace bertx::test {
namespace {

class LongRelations : public SubjectTest {
 protected:
  // Throws where a result is not that of the reference.
  static void run(Backend& backend, std::int64_t heads, std::int64_t dim, std::int64_t teacher_dim,
                  const std::vector<std::int32_t>& starts) {
    Scene s(backend, 32, 10);
    const std::int64_t rows = heads * dim, teacher_rows = heads * teacher_dim, tokens = starts.back();
    const Tensor a = s.matrix(rows, tokens), b = s.matrix(rows, tokens), places = s.indices(starts);
    const Tensor teacher_a = s.matrix(teacher_rows, tokens), teacher_b = s.matrix(teacher_rows, tokens);
    for (const Comparison comparison : {Comparison::squares, Comparison::distributions}) {
      const Tensor da = s.matrix(rows, tokens, 1e-3), db = s.matrix(rows, tokens, 1e-3);
      backend.relation_distance(comparison, heads, a, b, teacher_a, teacher_b, places, 1, da, db);
      backend.relation_distance(comparison, heads, a, a, teacher_a, teacher_a, places, 1, da, da);
      s.trust(da);
      s.trust(db);
    }
  }
};

TEST_P(LongRelations, OfWideHeads) {
  const auto backend = make_checked();
  for (const std::int64_t dim : {65, 130}) {
    SCOPED_TRACE(dim);
    run(*backend, 2, dim, 200 - dim, {0, 70, 75, 90});
  }
}

TEST_P(LongRelations, OverManyTiles) { run(*make_checked(), 1, 24, 7, {0, 3, 3, 200, 201, 230}); }

// Sums in another order would show, on a device whose blocks come in any order.
TEST_P(LongRelations, GiveTheSameBitsAgain) {
  const auto backend = make();
  const auto once = [&] {
    Scene s(*backend, 33, 10);
    const Tensor a = s.matrix(16, 150), b = s.matrix(16, 150), teacher = s.matrix(8, 150), da = s.zeros(16, 150),
                 db = s.zeros(16, 150);
    const double loss = backend->relation_distance(Comparison::distributions, 2, a, b, teacher, teacher,
                                                   s.indices({0, 100, 150}), 1, da, db);
    std::vector<double> all = values_of(*backend, da);
    for (const double value : values_of(*backend, db)) all.push_back(value);
    all.push_back(loss);
    return all;
  };
  EXPECT_EQ(once(), once());
}

INSTANTIATE_TEST_SUITE_P(Backends, LongRelations, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
