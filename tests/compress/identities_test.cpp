// What compression must be exactly, before anything statistical: methods.md, section "verification ladder".
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/safetensors.h"
#include "pruning/masks.h"
#include "pruning/schedule.h"
#include "structure_fixture.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

// ---- ranking
// ----------------------------------------------------------------------------------------------------------

TEST(Ranking, KeepsTheLargestAndOfEqualOnesTheEarlier) {
  test::RandomSource random(1);
  for (const Key key : {Key::value, Key::magnitude}) {
    std::vector<float> a(1000), b(77);
    for (float& x : a) x = static_cast<float>(random.integer(-40, 40));  // many ties
    for (float& x : b) x = static_cast<float>(random.normal());
    std::vector<float> all = a;
    all.insert(all.end(), b.begin(), b.end());
    for (const std::int64_t keep : {0, 1, 10, 500, 1076, 1077}) {
      std::vector<std::uint8_t> mask_a(a.size(), 7), mask_b(b.size(), 7);
      const Ranked parts[] = {{a.data(), mask_a.data(), 1000}, {b.data(), mask_b.data(), 77}};
      keep_largest(parts, keep, key);
      std::vector<std::size_t> order(all.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      const auto rank = [&](std::size_t i) { return key == Key::value ? all[i] : std::abs(all[i]); };
      std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return rank(i) > rank(j); });
      const std::set<std::size_t> want(order.begin(), order.begin() + keep);
      for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(i < 1000 ? mask_a[i] : mask_b[i - 1000], want.contains(i) ? 1 : 0) << i << " keep " << keep;
      }
    }
  }
}

TEST(Schedule, IsTheCubicOfZhuAndGupta) {
  EXPECT_EQ(cubic(0.2, 0.9, 0.1, 0.7, 0.05), 0.2);
  EXPECT_EQ(cubic(0.2, 0.9, 0.1, 0.7, 0.8), 0.9);
  EXPECT_NEAR(cubic(0.2, 0.9, 0.1, 0.7, 0.4), 0.9 - 0.7 * 0.125, 1e-15);
}

// ---- magnitude
// --------------------------------------------------------------------------------------------------------

TEST(Magnitude, LocalZerosTheSmallestOfEachMatrixAndGlobalOfAll) {
  const auto backend = make_reference_backend();
  for (const char* scope : {"local", "global"}) {
    Model model = tiny_model(*backend);
    std::vector<std::vector<double>> before;
    model.visit_linears([&](const std::string&, Linear& l) {
      const Storage dense = make_storage(*backend, l.weight->out(), l.weight->in(), DType::f64);
      l.weight->materialize(*backend, dense.tensor);
      before.push_back(test::values_of(*backend, dense.tensor));
    });
    compress_now(*backend, model, {.method = "magnitude", .sparsity = 0.75, .scope = scope});
    double largest_zeroed_anywhere = 0, smallest_kept_anywhere = 1e9;
    std::size_t n = 0;
    model.visit_linears([&](const std::string& path, Linear& l) {
      const Storage dense = make_storage(*backend, l.weight->out(), l.weight->in(), DType::f64);
      l.weight->materialize(*backend, dense.tensor);
      const std::vector<double> after = test::values_of(*backend, dense.tensor);
      double largest_zeroed = 0, smallest_kept = 1e9;
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (after[i] == 0.0) {
          largest_zeroed = std::max(largest_zeroed, std::abs(before[n][i]));
        } else {
          EXPECT_EQ(after[i], before[n][i]);
          smallest_kept = std::min(smallest_kept, std::abs(after[i]));
        }
      }
      if (scope == std::string("local")) {
        EXPECT_EQ(l.weight->kind(), "csr");
        EXPECT_EQ(l.weight->nonzeros(*backend), l.weight->out() * l.weight->in() / 4) << path;
        EXPECT_LT(largest_zeroed, smallest_kept) << path;
      }
      largest_zeroed_anywhere = std::max(largest_zeroed_anywhere, largest_zeroed);
      smallest_kept_anywhere = std::min(smallest_kept_anywhere, smallest_kept);
      ++n;
    });
    if (scope == std::string("global")) {
      EXPECT_LT(largest_zeroed_anywhere, smallest_kept_anywhere);
      EXPECT_NEAR(report(*backend, model).sparsity(), 0.75, 1e-3);
    }
  }
}

TEST(Masks, MaskedMaterialisedAndExportedLogitsAreEqual) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  mask_weights(*backend, model, false);
  rank_masks(*backend, model, 0.6, {.scope = Scope::global}, Key::magnitude);
  const std::vector<double> masked = logits_of(*backend, model, batch);
  finalize_masks(*backend, model);
  const std::vector<double> real = logits_of(*backend, model, batch);
  test::TemporaryDirectory directory;
  save_model(*backend, model, directory.path(), ExportForm::dense);
  const std::vector<double> exported = logits_of(*backend, load_model(*backend, directory.path()), batch);
  for (std::size_t i = 0; i < masked.size(); ++i) {
    EXPECT_NEAR(real[i], masked[i], 1e-13);
    EXPECT_NEAR(exported[i], masked[i], 1e-5);  // weights were rounded to F32
  }
}

// ---- movement
// -----------------------------------------------------------------------------------------------------------

// Under plain SGD the scores are S_T = -α Σ_t G∘W (2005.07683, section 4), also for weights whose mask is 0.
TEST(Movement, ScoresUnderSgdAreTheSumOfMovements) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  mask_weights(*backend, model, true);
  const double rate = 0.05;
  std::vector<std::vector<double>> sums;
  for (const MaskedMatrix& m : masked_matrices(model))
    sums.emplace_back(static_cast<std::size_t>(m.weight->out() * m.weight->in()));

  for (int step = 0; step < 5; ++step) {
    rank_masks(*backend, model, 0.2 * step, {}, Key::value);
    model.zero_gradients(*backend);
    Arena arena(*backend);
    Exec exec{*backend, arena};
    Model::Saved saved;
    const Tensor logits = model.forward(exec, batch, &saved);
    const Tensor dlogits = exec.take(logits.rows, logits.cols);
    model.loss(exec, batch, logits, 1.0, dlogits);
    model.backward(exec, batch, saved, dlogits);

    // G by an independent way: the gradient of the same loss for a dense model with the effective weights.
    Model dense = tiny_model(*backend);
    std::size_t n = 0;
    const std::vector<MaskedMatrix> matrices = masked_matrices(model);
    dense.visit_linears([&](const std::string&, Linear& l) {
      auto w = std::make_shared<Parameter>();
      w->value = make_storage(*backend, l.weight->out(), l.weight->in(), DType::f64);
      matrices[n++].weight->materialize(*backend, w->tensor());
      l.weight = std::make_shared<DenseWeight>(w);
    });
    // Everything else of the two models is equal: only matrices are updated below.
    dense.zero_gradients(*backend);
    Model::Saved dense_saved;
    const Tensor dense_logits = dense.forward(exec, batch, &dense_saved);
    dense.loss(exec, batch, dense_logits, 1.0, dlogits);
    dense.backward(exec, batch, dense_saved, dlogits);
    n = 0;
    dense.visit_linears([&](const std::string&, Linear& l) {
      const std::vector<double> g =
          test::values_of(*backend, static_cast<DenseWeight&>(*l.weight).parameter()->gradient());
      const std::vector<double> w = test::values_of(*backend, matrices[n].weight->parameter()->tensor());
      for (std::size_t i = 0; i < g.size(); ++i) sums[n][i] += g[i] * w[i];
      ++n;
    });

    for (const MaskedMatrix& m : matrices) {  // SGD on weights and scores
      for (Parameter* p : {m.weight->parameter().get(), m.weight->scores()}) {
        for (std::int64_t i = 0; i < p->tensor().size(); ++i)
          p->tensor().as<double>()[i] -= rate * p->gradient().as<double>()[i];
      }
    }
    model.refresh(*backend);
  }

  std::size_t n = 0;
  bool masked_score_moved = false;
  for (const MaskedMatrix& m : masked_matrices(model)) {
    const std::vector<double> scores = test::values_of(*backend, m.weight->scores()->tensor());
    ASSERT_TRUE(test::trusted(scores));
    for (std::size_t i = 0; i < scores.size(); ++i) {
      ASSERT_NEAR(scores[i], -rate * sums[n][i], 1e-12) << m.path;
      masked_score_moved |= m.weight->mask().tensor.as<std::uint8_t>()[i] == 0 && scores[i] != 0.0;
    }
    ++n;
  }
  EXPECT_TRUE(masked_score_moved);
}

// ---- heads
// ------------------------------------------------------------------------------------------------------------

// Σ_t ctx_h · dctx_h = ⟨W_O[:, h], dW_O[:, h]⟩: the gate's gradient by two ways.
TEST(Heads, GateGradientIsTheProductOfTheOutputColumnsWithTheirGradient) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  model.zero_gradients(*backend);
  Arena arena(*backend);
  Exec exec{*backend, arena};
  std::vector<std::vector<double>> gates(2);
  const ContextProbe probe = [&](int layer, Tensor context, Tensor dcontext) {
    const Storage out = make_storage(*backend, 3, 4, DType::f64);
    Exec inner{*backend, arena};
    backend->segment_dot(context, dcontext, inner.integers(batch.starts), out.tensor);
    gates[static_cast<std::size_t>(layer)] = test::values_of(*backend, out.tensor);
  };
  exec.probe = &probe;
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, &saved);
  const Tensor dlogits = exec.take(logits.rows, logits.cols);
  model.loss(exec, batch, logits, 1.0, dlogits);
  model.backward(exec, batch, saved, dlogits);
  for (std::size_t l = 0; l < 2; ++l) {
    const Parameter& w = *static_cast<DenseWeight&>(*model.layers[l].attention_output.weight).parameter();
    for (std::int64_t h = 0; h < 3; ++h) {
      double by_weight = 0, by_context = 0;
      for (std::int64_t i = 0; i < 12; ++i) {
        for (std::int64_t d = 0; d < 4; ++d)
          by_weight += w.tensor().as<double>()[i * 12 + h * 4 + d] * w.gradient().as<double>()[i * 12 + h * 4 + d];
      }
      for (std::size_t b = 0; b < 4; ++b) by_context += gates[l][static_cast<std::size_t>(h) * 4 + b];
      EXPECT_NE(by_weight, 0.0);
      EXPECT_NEAR(by_context, by_weight, 1e-12);
    }
  }
}

// Zeroing a head's columns of W_O is what cutting it does; b_O stays, also without any head.
TEST(Heads, CutModelsGiveTheLogitsOfGatedOnes) {
  const auto backend = make_reference_backend();
  for (const auto& keep : {std::vector<std::vector<bool>>{{true, false, true}, {false, true, true}},
                           {{false, false, false}, {true, false, false}}}) {
    Model cut = tiny_model(*backend), gated = tiny_model(*backend);
    const Batch batch = test::tiny_batch(cut, 5);
    keep_heads(*backend, cut, keep);
    for (std::size_t l = 0; l < 2; ++l) {
      Tensor w = static_cast<DenseWeight&>(*gated.layers[l].attention_output.weight).parameter()->tensor();
      for (std::int64_t h = 0; h < 3; ++h) {
        if (!keep[l][static_cast<std::size_t>(h)]) backend->fill(w.col_range(h * 4, 4), 0.0);
      }
    }
    const std::vector<double> got = logits_of(*backend, cut, batch), want = logits_of(*backend, gated, batch);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-13);
    EXPECT_EQ(cut.config.layers[0].heads, std::count(keep[0].begin(), keep[0].end(), true));
    EXPECT_EQ(cut.layers[0].query.weight->out(), 4 * cut.config.layers[0].heads);
  }
}

TEST(Heads, GoldenImportanceAndLogitsWithoutAHead) {
  BERTX_SKIP_WITHOUT_SHARED("golden/tiny/classification");
  const auto directory = *test::shared_path("golden/tiny/classification");
  const auto backend = make_reference_backend();
  const SafetensorsFile heads = SafetensorsFile::open(directory / "heads.safetensors");
  const std::vector<EncodedExample> examples = golden_texts(directory);
  Model model = load_model(*backend, directory);
  const auto importance = head_importance(*backend, model, {examples, LabelKind::single_label}, 3);
  const auto* want = static_cast<const double*>(heads.find("importance")->data);
  for (std::size_t l = 0; l < 3; ++l) {
    for (std::size_t h = 0; h < 4; ++h) EXPECT_NEAR(importance[l][h], want[l * 4 + h], 1e-10);
  }
  const std::int64_t all[] = {0, 1, 2, 3, 4};
  const Batch batch = collate(examples, all, LabelKind::single_label, 3);
  for (std::size_t l = 0; l < 3; ++l) {
    for (std::size_t h = 0; h < 4; ++h) {
      Model cut = load_model(*backend, directory);
      std::vector<std::vector<bool>> keep(3, std::vector<bool>(4, true));
      keep[l][h] = false;
      keep_heads(*backend, cut, keep);
      const std::vector<double> logits = logits_of(*backend, cut, batch);  // [3, 5]
      const auto* without =
          static_cast<const double*>(heads.find("logits.without." + std::to_string(l) + "." + std::to_string(h))->data);
      for (std::size_t b = 0; b < 5; ++b) {
        for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(logits[c * 5 + b], without[b * 3 + c], 1e-10);
      }
    }
  }
}

// ---- recipes
// ----------------------------------------------------------------------------------------------------------

TEST(Recipe, NonsenseIsRefusedByName) {
  const auto message = [](const Recipe& recipe) -> std::string {
    try {
      check(recipe);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message({.method = "magnitud"}).find("magnitude, movement, soft_movement, "), std::string::npos);
  for (const double sparsity : {1.0, 1.1, -0.1, std::nan("")}) {
    EXPECT_NE(message({.sparsity = sparsity}).find("sparsity: found"), std::string::npos) << sparsity;
  }
  EXPECT_NE(message({.schedule_begin = 0.7, .schedule_end = 0.5}).find("schedule_end"), std::string::npos);
  EXPECT_NE(message({.mask_interval = 0}).find("mask_interval"), std::string::npos);
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  EXPECT_THROW(compress_now(*backend, model, {.method = "movement"}), Error);
  EXPECT_THROW(compress_now(*backend, model, {.method = "heads"}), Error);
}

}  // namespace
}  // namespace bertx::compress
