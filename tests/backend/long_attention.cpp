// Attention beyond what the random scenes have: heads wider than a kernel's tile, sequences of several tiles.
#include "scene.h"

namespace bertx::test {
namespace {

class LongAttention : public SubjectTest {
 protected:
  // Throws where a result is not that of the reference.
  static void run(Backend& backend, AttentionShape shape, const std::vector<std::int32_t>& starts) {
    Scene s(backend, 31, 10);
    const std::int64_t rows = shape.heads * shape.head_dim, tokens = starts.back();
    const Tensor q = s.matrix(rows, tokens), k = s.matrix(rows, tokens), v = s.matrix(rows, tokens);
    const Tensor context = s.output(rows, tokens), log_sum_exp = s.output(shape.heads, tokens);
    const Tensor dcontext = s.matrix(rows, tokens), dq = s.output(rows, tokens), dk = s.output(rows, tokens),
                 dv = s.output(rows, tokens), places = s.indices(starts);
    for (const Dropout dropout : {Dropout{}, Dropout{0.2f, 99}}) {
      backend.attention(shape, q, k, v, places, dropout, context, log_sum_exp);
      backend.attention_grad(shape, q, k, v, places, dropout, context, log_sum_exp, dcontext, dq, dk, dv);
      s.trust(context);
      s.trust(dq);
    }
  }
};

TEST_P(LongAttention, OfWideHeads) {
  const auto backend = make_checked();
  for (const std::int64_t head_dim : {65, 96, 130}) {
    SCOPED_TRACE(head_dim);
    run(*backend, {2, head_dim}, {0, 70, 75, 90});
  }
}

TEST_P(LongAttention, OverManyTiles) { run(*make_checked(), {1, 24}, {0, 3, 3, 260, 261, 300}); }

TEST_P(LongAttention, OverManyTilesInBf16) {
  if (GetParam().backend == "reference") GTEST_SKIP() << "the reference backend rounds nothing";
  const auto backend = make_checked_backend(make_subject(GetParam().backend, {DType::bf16}), make_reference_backend());
  run(*backend, {1, 24}, {0, 3, 3, 260, 261, 300});
}

INSTANTIATE_TEST_SUITE_P(Backends, LongAttention, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
