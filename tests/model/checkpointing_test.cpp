// Gradient checkpointing: the very gradients of a backward pass that kept everything, from less memory.
#include <gtest/gtest.h>

#include <cstring>

#include "bertx/model.h"
#include "support.h"
#include "tiny.h"

namespace bertx {
namespace {

struct Pass {
  std::vector<double> logits, gradients;
  std::size_t peak = 0;
};

/// Forward and backward of one batch; `spoil` is called between the two.
Pass pass_of(Backend& backend, Model& model, const Batch& batch, bool recompute,
             const std::function<void(Exec&)>& spoil = nullptr) {
  model.zero_gradients(backend);
  Arena arena(backend);
  Exec exec{backend, arena, true, 7};
  exec.recompute = recompute;
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, &saved);
  Pass pass{test::values_of(backend, logits), {}, 0};
  const Tensor dlogits = exec.take(logits.rows, logits.cols);
  model.loss(exec, batch, logits, 1.0, dlogits);
  if (spoil) spoil(exec);
  model.backward(exec, batch, saved, dlogits);
  model.visit([&](const std::string&, Parameter& p) {
    for (const double g : test::values_of(backend, p.gradient())) pass.gradients.push_back(g);
  });
  pass.peak = arena.peak_bytes();
  return pass;
}

class Checkpointing : public testing::TestWithParam<std::tuple<std::string, test::TinyHead>> {
 protected:
  std::unique_ptr<Backend> backend = make_backend(std::get<0>(GetParam()));
  Model model = make_model(*backend, test::tiny_config(std::get<1>(GetParam())), 3);
};

TEST_P(Checkpointing, GivesTheSameBits) {
  test::randomise_vectors(*backend, model, 4);
  const Batch batch = test::tiny_batch(model, 5);
  const Pass kept = pass_of(*backend, model, batch, false), again = pass_of(*backend, model, batch, true);
  EXPECT_EQ(kept.logits, again.logits);
  EXPECT_EQ(kept.gradients, again.gradients);
  EXPECT_TRUE(test::trusted(kept.gradients));
}

TEST_P(Checkpointing, OtherMasksWouldBeNoticed) {
  const Batch batch = test::tiny_batch(model, 5);
  const Pass kept = pass_of(*backend, model, batch, false);
  const Pass spoilt = pass_of(*backend, model, batch, true, [](Exec& exec) { exec.seed = 8; });
  EXPECT_EQ(kept.logits, spoilt.logits);
  EXPECT_NE(kept.gradients, spoilt.gradients);
}

INSTANTIATE_TEST_SUITE_P(Heads, Checkpointing,
                         testing::Combine(testing::Values("reference", "cpu"), testing::ValuesIn(test::tiny_heads())),
                         [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param).name; });

TEST(CheckpointingKinds, GiveTheSameBits) {
  for (const std::string kind : {"masked", "csr", "low_rank", "low_rank_csr", "shared", "no_heads", "few_heads",
                                 "few_neurons", "gated", "block_masked"}) {
    const auto backend = make_cpu_backend();
    Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
    test::represent(*backend, model, kind, 6);
    const Batch batch = test::tiny_batch(model, 5);
    EXPECT_EQ(pass_of(*backend, model, batch, false).gradients, pass_of(*backend, model, batch, true).gradients)
        << kind;
  }
}

// Ten layers keep an input each instead of sixteen matrices of that size; at any time one layer has all it needs.
TEST(CheckpointingMemory, ArenaHoldsInputsAndOneLayer) {
  const auto backend = make_cpu_backend();
  Config config = make_config(10, 64, 4, 256, 50, 64);
  config.head = HeadKind::token_classification;
  config.labels = {"a", "b"};
  Model model = make_model(*backend, config, 3);
  test::RandomSource random(5);
  Batch batch;
  batch.starts = {0, 60, 110, 160};
  for (int t = 0; t < 160; ++t) {
    batch.ids.push_back(static_cast<std::int32_t>(random.integer(0, 49)));
    batch.types.push_back(0);
    batch.labels.push_back(t % 2);
  }
  const Pass kept = pass_of(*backend, model, batch, false), again = pass_of(*backend, model, batch, true);
  EXPECT_EQ(kept.gradients, again.gradients);
  const std::size_t hidden = 64 * static_cast<std::size_t>(row_stride(160, DType::f32)) * 4;
  EXPECT_GT(kept.peak, (10 * 15) * hidden);
  EXPECT_LT(again.peak, (10 + 30) * hidden);
}

}  // namespace
}  // namespace bertx
