// Movement pruning of blocks and neurons, and the dense model that it is filled up to.
#include <cmath>

#include "bertx/recipe_file.h"
#include "pruning/block_masks.h"
#include "pruning/masks.h"
#include "training_fixture.h"

namespace bertx::compress {
namespace {

Recipe blocks(std::int64_t height, std::int64_t width, double sparsity = 0.5) {
  Recipe recipe{.method = "block_movement", .learning_rate = 1e-3, .sparsity = sparsity};
  recipe.schedule_begin = 0.0;
  recipe.block_height = height;
  recipe.block_width = width;
  return recipe;
}

void set_mask(Backend& backend, const Linear& linear, const std::vector<std::uint8_t>& bits) {
  auto& weight = dynamic_cast<BlockMaskedWeight&>(*linear.weight);
  weight.mask() = test::make_mask(backend, weight.block_rows(), weight.block_cols(), bits);
  weight.refresh(backend);
}

double loss_of(Backend& backend, const Model& model, const Batch& batch) {
  Arena arena(backend);
  Exec exec{backend, arena};
  return model.loss(exec, batch, model.forward(exec, batch));
}

// The score of a block is a factor of all that it stands for: its gradient is the derivative by that factor.
TEST(BlockMovement, ScoresLearnByTheDerivativeOfWhatTheyStandFor) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  mask_blocks(*backend, model, blocks(5, 7));
  model.zero_gradients(*backend);
  Arena arena(*backend);
  Exec exec{*backend, arena};
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, &saved), dlogits = exec.take(logits.rows, logits.cols);
  model.loss(exec, batch, logits, 1.0, dlogits);
  model.backward(exec, batch, saved, dlogits);

  const auto derivative = [&](const std::function<void(double factor)>& scale) {
    constexpr double step = 1e-5;
    const auto at = [&](double factor) {
      scale(factor);
      model.refresh(*backend);
      const double loss = loss_of(*backend, model, batch);
      scale(1 / factor);
      return loss;
    };
    return (at(1 + step) - at(1 - step)) / (2 * step);
  };
  for (EncoderLayer& layer : model.layers) {
    for (Linear* linear : {&layer.query, &layer.value, &layer.attention_output}) {
      auto& weight = dynamic_cast<BlockMaskedWeight&>(*linear->weight);
      ASSERT_EQ(weight.block_rows(), 3);  // 5, 5 and 2 of 12 rows
      ASSERT_EQ(weight.block_cols(), 2);
      for (std::int64_t b = 0; b < 6; ++b) {
        const double want = derivative([&](double factor) {
          for (std::int64_t i = 0; i < 12; ++i) {
            for (std::int64_t j = 0; j < 12; ++j) {
              if (i / 5 * 2 + j / 7 == b) weight.parameter()->tensor().as<double>()[i * 12 + j] *= factor;
            }
          }
        });
        EXPECT_NEAR(weight.scores()->gradient().as<double>()[b], want, 1e-8);
        EXPECT_NE(want, 0.0);
      }
    }
    auto& first = dynamic_cast<BlockMaskedWeight&>(*layer.ffn_in.weight);
    auto& second = dynamic_cast<BlockMaskedWeight&>(*layer.ffn_out.weight);
    ASSERT_EQ(first.scores(), second.scores());
    for (std::int64_t n = 0; n < 10; ++n) {
      const double want = derivative([&](double factor) {
        for (std::int64_t i = 0; i < 12; ++i) {
          first.parameter()->tensor().as<double>()[n * 12 + i] *= factor;
          second.parameter()->tensor().as<double>()[i * 10 + n] *= factor;
        }
        layer.ffn_in.bias->tensor().as<double>()[n] *= factor;
      });
      EXPECT_NEAR(first.scores()->gradient().as<double>()[n], want, 1e-8);
      first.scores()->gradient().as<double>()[n] += 1e-3;  // the check can fail
      EXPECT_GT(std::abs(first.scores()->gradient().as<double>()[n] - want), 1e-8);
    }
  }
}

// ---- fill -----------------------------------------------------------------------------------------------------------

TEST(BlockMovement, AHeadIsLeftWhereEachMatrixHasABlockThatTouchesIt) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);  // 3 heads of 4 rows
  mask_blocks(*backend, model, blocks(5, 7));
  const EncoderLayer& layer = model.layers[0];
  const auto left = [&] { return survivors(*backend, model).heads[0]; };
  EXPECT_EQ(left(), (std::vector<bool>{true, true, true}));
  set_mask(*backend, layer.query, {0, 0, 1, 0, 1, 1});  // rows 0 to 4 are empty: head 0, and one row of head 1
  EXPECT_EQ(left(), (std::vector<bool>{false, true, true}));
  set_mask(*backend, layer.key, {1, 1, 0, 0, 0, 1});  // rows 5 to 9: of head 1 row 4 is left, of head 2 rows 10 and 11
  EXPECT_EQ(left(), (std::vector<bool>{false, true, true}));
  set_mask(*backend, layer.attention_output, {1, 0, 0, 0, 0, 0});  // columns 7 to 11: head 2
  EXPECT_EQ(left(), (std::vector<bool>{false, true, false}));
  set_mask(*backend, layer.value, {0, 0, 0, 0, 0, 0});
  EXPECT_EQ(left(), (std::vector<bool>{false, false, false}));
  EXPECT_EQ(survivors(*backend, model).heads[1], (std::vector<bool>{true, true, true}));
}

TEST(BlockMovement, FilledModelsSayWhatGatedOnesSay) {
  const auto backend = make_reference_backend();
  for (const std::int64_t size : {3, 4, 5, 100}) {
    Model model = tiny_model(*backend), gated = tiny_model(*backend);
    const Batch batch = test::tiny_batch(model, 5);
    mask_blocks(*backend, model, blocks(size, size));
    test::RandomSource random(static_cast<std::uint64_t>(size));
    for (EncoderLayer& layer : model.layers) {
      for (Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.attention_output}) {
        auto& weight = dynamic_cast<BlockMaskedWeight&>(*linear->weight);
        std::vector<std::uint8_t> bits(static_cast<std::size_t>(weight.block_rows() * weight.block_cols()));
        for (auto& bit : bits) bit = random.chance(0.5);
        set_mask(*backend, *linear, bits);
      }
      std::vector<std::uint8_t> bits(10);
      for (auto& bit : bits) bit = random.chance(0.5);
      set_mask(*backend, layer.ffn_in, bits);
      set_mask(*backend, layer.ffn_out, bits);
    }
    const Survivors left = survivors(*backend, model);
    for (std::size_t l = 0; l < 2; ++l) {  // gates of 0 on heads and neurons; nothing else is masked
      const auto dense = [](Linear& linear) { return static_cast<DenseWeight&>(*linear.weight).parameter()->tensor(); };
      for (std::size_t h = 0; h < 3; ++h) {
        if (left.heads[l][h]) continue;
        backend->fill(dense(gated.layers[l].attention_output).col_range(static_cast<std::int64_t>(h) * 4, 4), 0.0);
      }
      for (std::size_t n = 0; n < 10; ++n) {
        if (left.neurons[l][n]) continue;
        backend->fill(dense(gated.layers[l].ffn_out).col_range(static_cast<std::int64_t>(n), 1), 0.0);
      }
    }
    fill_blocks(*backend, model);
    const std::vector<double> got = test::logits_of(*backend, model, batch),
                              want = test::logits_of(*backend, gated, batch);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << size;
    for (std::size_t l = 0; l < 2; ++l) {
      EXPECT_EQ(model.layers[l].shape.heads, std::count(left.heads[l].begin(), left.heads[l].end(), true));
      EXPECT_EQ(model.layers[l].shape.ffn, std::count(left.neurons[l].begin(), left.neurons[l].end(), true));
      EXPECT_EQ(model.layers[l].query.weight->kind(), "dense");
    }
  }
}

// What masks say and what is left agree for neurons: they are masked as a whole.
TEST(BlockMovement, MaskedNeuronsAreCutWithoutAChange) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  mask_blocks(*backend, model, blocks(4, 4));
  for (EncoderLayer& layer : model.layers) {
    const std::vector<std::uint8_t> bits{1, 0, 1, 1, 0, 0, 1, 0, 1, 1};
    set_mask(*backend, layer.ffn_in, bits);
    set_mask(*backend, layer.ffn_out, bits);
  }
  const std::vector<double> masked = test::logits_of(*backend, model, batch);
  EXPECT_NEAR(share_of_zeros<BlockMaskedWeight>(*backend, model), 2.0 * 2 * 4 * 12 / (2 * (4 * 144 + 2 * 120)), 1e-12);
  fill_blocks(*backend, model);
  const std::vector<double> cut = test::logits_of(*backend, model, batch);
  for (std::size_t i = 0; i < cut.size(); ++i) EXPECT_NEAR(cut[i], masked[i], 1e-12);
  EXPECT_EQ(model.config.layers[0].ffn, 6);
}

// ---- models of other kinds, training --------------------------------------------------------------------------------

TEST(BlockMovement, TakesWhatHasADenseFormAndRefusesTheRestUnchanged) {
  const auto backend = make_reference_backend();
  for (const char* kind : {"csr", "masked", "few_heads", "no_heads", "few_neurons"}) {
    Model model = tiny_model(*backend);
    test::represent(*backend, model, kind, 6);
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> before = test::logits_of(*backend, model, batch);
    mask_blocks(*backend, model, blocks(3, 5));
    const std::vector<double> masked = test::logits_of(*backend, model, batch);
    fill_blocks(*backend, model);
    const std::vector<double> after = test::logits_of(*backend, model, batch);
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_NEAR(masked[i], before[i], 1e-12) << kind;
      EXPECT_NEAR(after[i], before[i], 1e-12) << kind;
    }
  }
  for (const auto& [kind, words] : {std::pair{"low_rank", "found a weight of kind low_rank"},
                                    {"sum", "found a weight of kind sum"},
                                    {"shared", "found only one of the two feed-forward matrices shared"}}) {
    Model model = tiny_model(*backend);
    test::represent(*backend, model, kind, 6);
    const std::string was(model.layers[0].query.weight->kind());
    const std::string message = usage_message([&] { mask_blocks(*backend, model, blocks(3, 5)); });
    EXPECT_NE(message.find(words), std::string::npos) << message;
    EXPECT_EQ(model.layers[0].query.weight->kind(), was);
  }
}

TEST(BlockMovement, LayersThatShareEverythingLoseTheSame) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  model.layers[1] = model.layers[0];
  mask_blocks(*backend, model, blocks(4, 4));
  EXPECT_EQ(weights_of_kind<BlockMaskedWeight>(model).size(), 6u);
  set_mask(*backend, model.layers[0].value, {0, 0, 0, 1, 1, 1, 1, 1, 1});
  fill_blocks(*backend, model);
  EXPECT_EQ(model.layers[0].query.weight, model.layers[1].query.weight);
  EXPECT_EQ(model.config.layers[1].heads, 2);

  Model own_bias = tiny_model(*backend);
  own_bias.layers[1].key.weight = own_bias.layers[0].key.weight;
  EXPECT_NE(usage_message([&] { mask_blocks(*backend, own_bias, blocks(4, 4)); }).find("with a bias of its own"),
            std::string::npos);
}

TEST(BlockMovement, ResumesBitForBitWithTheSameBlocks) {
  expect_resumes(blocks(3, 5), tiny_examples(30), {7});
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  mask_blocks(*backend, model, blocks(3, 5));
  EXPECT_NE(usage_message([&] {
              mask_blocks(*backend, model, blocks(3, 6));
            }).find("found blocks of 3 x 5, expected block_height 3 and block_width 6"),
            std::string::npos);
}

TEST(BlockMovement, MasksWhatIsBelowTheThresholdButNoMoreThanAskedFor) {
  const auto backend = make_reference_backend();
  Model model = tiny_model(*backend);
  mask_blocks(*backend, model, blocks(5, 7));
  test::RandomSource random(2);
  const std::vector<ScoredBlocks> all = scored_blocks(model);
  ASSERT_EQ(all.size(), 10u);
  for (const ScoredBlocks& one : all) {
    for (std::int64_t i = 0; i < one.scores->tensor().size(); ++i)
      one.scores->tensor().as<double>()[i] = random.normal() - 2;
  }
  const auto masked = [&](double threshold, double most) {
    threshold_blocks(*backend, model, threshold, most);
    std::vector<double> kept, gone;
    for (const ScoredBlocks& one : all) {
      const std::vector<std::uint8_t> mask = one.weights.front()->host_mask(*backend);
      EXPECT_EQ(one.weights.back()->host_mask(*backend), mask);
      for (std::size_t n = 0; n < mask.size(); ++n) {
        (mask[n] ? kept : gone).push_back(one.scores->tensor().as<double>()[n]);
      }
    }
    return std::pair{kept, gone};
  };
  const auto [kept, gone] = masked(0.1, 1.0);
  EXPECT_LE(std::ranges::max(gone), std::log(0.1 / 0.9));
  EXPECT_GT(share_of_zeros<BlockMaskedWeight>(*backend, model), 0.3);
  const auto [more, less] = masked(0.1, 0.25);
  EXPECT_LT(less.size(), gone.size());
  EXPECT_LE(share_of_zeros<BlockMaskedWeight>(*backend, model), 0.25);
  EXPECT_GT(share_of_zeros<BlockMaskedWeight>(*backend, model), 0.2);
  for (const double score : more) {  // spared were the highest
    if (score <= std::log(0.1 / 0.9) && std::ranges::find(kept, score) == kept.end()) {
      EXPECT_GE(score, std::ranges::max(less));
    }
  }
}

TEST(BlockMovement, IsSteeredToTheSparsityAndLeavesASmallDenseModel) {
  const Trained run = trained(blocks(4, 4, 0.6), tiny_examples(40), {.steps = 800, .stop = 800});
  EXPECT_NEAR(run.sparsities.back(), 0.6, 0.03);
  EXPECT_LT(run.weights.size(), std::size_t{2 * (4 * 144 + 2 * 120)});
  EXPECT_EQ(share_of_zeros(run.weights), 0.0);
}

TEST(BlockMovement, InRecipesItCutsPartsOutAndComesBeforeFactorsAndZeros) {
  const auto message = [](const std::string& first, const std::string& second) -> std::string {
    const auto step = [](const std::string& method) {
      return "{\"method\": \"" + method + (method == "tucker" ? "\"}" : "\", \"sparsity\": 0.5, \"train\": {}}");
    };
    try {
      parse_recipe("{\"steps\": [" + step(first) + ", " + step(second) + "]}", "recipe.json");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message("block_movement", "tucker"), "no error");
  EXPECT_EQ(message("block_movement", "magnitude"), "no error");
  EXPECT_NE(message("magnitude", "block_movement").find("found block_movement after step 1 (magnitude)"),
            std::string::npos);
  EXPECT_NE(message("tucker", "block_movement").find("found block_movement after step 1 (tucker)"), std::string::npos);
}

}  // namespace
}  // namespace bertx::compress
