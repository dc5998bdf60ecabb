// Whole models on a backend whose dense products take bf16 inputs.
#include "bertx/train.h"
#include "cuda.h"
#include "tiny.h"

namespace bertx::test {
namespace {

/// The model's logits, made of the same seed on each backend.
std::vector<double> logits_on(Backend& backend, const TinyHead& head, bool prepare) {
  Config config = tiny_config(head);
  config.initializer_range = 0.2f;
  Model model = make_model(backend, config, 7);
  randomise_vectors(backend, model, 8);
  if (prepare) model.prepare(backend);
  return logits_of(backend, model, tiny_batch(model, 9));
}

using CudaBf16Model = CudaTest;

TEST(Bf16Model, LogitsAreThoseOfTheReferenceToTheRoundingOfBf16) {
  const auto reference = make_reference_backend(), f32 = make_cpu_backend(), bf16 = make_cpu_backend({DType::bf16});
  for (const TinyHead& head : tiny_heads()) {
    const std::vector<double> want = logits_on(*reference, head, false), exact = logits_on(*f32, head, true);
    ASSERT_TRUE(trusted(want));
    double largest = 0;
    for (const double logit : want) largest = std::max(largest, std::abs(logit));
    for (const bool prepare : {false, true}) {
      const std::vector<double> got = logits_on(*bf16, head, prepare);
      ASSERT_EQ(got.size(), want.size());
      double worst = 0, of_f32 = 0;
      for (std::size_t i = 0; i < want.size(); ++i) {
        worst = std::max(worst, std::abs(got[i] - want[i]));
        of_f32 = std::max(of_f32, std::abs(exact[i] - want[i]));
      }
      // Ten products one after the other, each of which moves its result by about 2^-8 of it, in directions of their
      // own: √10 · 2^-8 = 1.2 %; norms and the softmax between them may enlarge it threefold.
      EXPECT_LE(worst, 0.04 * largest) << head.name;
      EXPECT_GT(worst, 10 * of_f32) << head.name << ": no sign of bf16";
    }
  }
}

// Between prepared products activations are bf16: rounded earlier, not more. What is left is the order of sums.
TEST_F(CudaBf16Model, PreparedModelsRoundNoMoreThanOthers) {
  const auto backend = make_cuda({DType::bf16});
  for (const TinyHead& head : tiny_heads()) {
    const std::vector<double> want = logits_on(*backend, head, false), got = logits_on(*backend, head, true);
    ASSERT_TRUE(trusted(want));
    EXPECT_TRUE(all_near(got, want, DType::f32, 64, 4)) << head.name;
  }
}

TEST_F(CudaBf16Model, NorDoFactors) {
  const auto backend = make_cuda({DType::bf16});
  Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
  represent(*backend, model, "low_rank", 5);
  model.refresh(*backend);
  const Batch batch = tiny_batch(model, 9);
  const LinearWeight& weight = *model.layers[0].ffn_out.weight;
  EXPECT_FALSE(weight.takes_between_products());
  const std::vector<double> want = logits_of(*backend, model, batch);
  model.prepare(*backend);
  EXPECT_TRUE(weight.takes_between_products());
  ASSERT_TRUE(trusted(want));
  EXPECT_TRUE(all_near(logits_of(*backend, model, batch), want, DType::f32, 64, 4));
}

}  // namespace
}  // namespace bertx::test
