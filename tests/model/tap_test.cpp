// What a loss sees of the encoder during backward is what forward made, and running the last layer for all tokens
// changes nothing else.
#include <gtest/gtest.h>

#include <map>

#include "bertx/model.h"
#include "support.h"
#include "tiny.h"

namespace bertx {
namespace {

/// Keeps what comes by; adds `push` to the gradient of every output.
struct Recorder final : LayerTap {
  std::map<int, std::vector<double>> outputs, queries, values;
  std::vector<int> order;
  double push = 0;

  void output(Exec& exec, int layer, Tensor y, Tensor, Tensor dy) override {
    outputs[layer] = test::values_of(exec.backend, y);
    order.push_back(layer);
    const Tensor ones = exec.take(dy.rows, dy.cols);
    exec.backend.fill(ones, push);
    exec.backend.add(ones, dy);
  }
  void attention(Exec& exec, int layer, AttentionShape, Tensor q, Tensor, Tensor v, Tensor, Tensor, Tensor,
                 Tensor) override {
    queries[layer] = test::values_of(exec.backend, q);
    values[layer] = test::values_of(exec.backend, v);
  }
};

struct Pass {
  std::vector<double> logits, gradients;
};
Pass pass_of(Backend& backend, Model& model, const Batch& batch, bool all_tokens, bool recompute = false,
             LayerTap* tap = nullptr, bool dropout = false) {
  model.zero_gradients(backend);
  Arena arena(backend);
  Exec exec{backend, arena, dropout, 7};
  exec.all_tokens = all_tokens, exec.recompute = recompute, exec.tap = tap;
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, &saved), dlogits = exec.take(logits.rows, logits.cols);
  Pass pass{test::values_of(backend, logits), {}};
  model.loss(exec, batch, logits, 1.0, dlogits);
  model.backward(exec, batch, saved, dlogits);
  model.visit([&](const std::string&, Parameter& p) {
    for (const double g : test::values_of(backend, p.gradient())) pass.gradients.push_back(g);
  });
  return pass;
}

class Tapped : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend = make_backend(GetParam());
  Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
  Batch batch = test::tiny_batch(model, 5);
};

TEST_P(Tapped, SeesWhatForwardMade) {
  Arena arena(*backend);
  Exec exec{*backend, arena};
  std::vector<Tensor> states;
  model.encode(exec, batch, nullptr, &states);
  const std::int64_t width = 12;
  for (const bool recompute : {false, true}) {
    Recorder tap;
    pass_of(*backend, model, batch, true, recompute, &tap);
    EXPECT_EQ(tap.order, (std::vector<int>{1, 0, -1}));
    for (int layer = -1; layer < 2; ++layer) {
      const auto seen = test::values_of(*backend, states[static_cast<std::size_t>(layer + 1)]);
      EXPECT_TRUE(test::all_near(tap.outputs.at(layer), seen, backend->real(), 100, 10)) << layer;
      if (layer < 0) continue;
      const Tensor qkv = exec.take(3 * width, batch.tokens());
      model.layers[static_cast<std::size_t>(layer)].project(exec, states[static_cast<std::size_t>(layer)], qkv);
      EXPECT_TRUE(test::all_near(tap.queries.at(layer), test::values_of(*backend, qkv.row_range(0, width)),
                                 backend->real(), 100, 10));
      EXPECT_TRUE(test::all_near(tap.values.at(layer), test::values_of(*backend, qkv.row_range(2 * width, width)),
                                 backend->real(), 100, 10));
    }
  }
}

TEST_P(Tapped, AllTokensChangeNeitherLogitsNorGradients) {
  const Pass few = pass_of(*backend, model, batch, false), all = pass_of(*backend, model, batch, true);
  EXPECT_TRUE(test::all_near(few.logits, all.logits, backend->real(), 100, 10));
  EXPECT_TRUE(test::all_near(few.gradients, all.gradients, backend->real(), 100, 10));
  EXPECT_TRUE(test::trusted(few.gradients));
}

TEST_P(Tapped, WhatItAddsReachesTheParameters) {
  Recorder tap;
  const Pass plain = pass_of(*backend, model, batch, false, false, &tap);
  EXPECT_EQ(plain.gradients, pass_of(*backend, model, batch, false).gradients);
  tap.push = 0.1;
  const Pass kept = pass_of(*backend, model, batch, false, false, &tap, true),
             again = pass_of(*backend, model, batch, false, true, &tap, true);
  EXPECT_NE(kept.gradients, plain.gradients);
  EXPECT_EQ(kept.gradients, again.gradients);
}

INSTANTIATE_TEST_SUITE_P(Backends, Tapped, testing::Values("reference", "cpu"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace bertx
