// Layers that share their weights: what is one and what is not, full repair is the model as it was, gradients add up.
#include "bertx/error.h"
#include "bertx/sum_weight.h"
#include "sharing_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

/// For each layer the first one that it shares with, by what `of` finds in it.
template <class Of>
std::vector<std::size_t> partners(const Model& model, const Of& of) {
  std::vector<std::size_t> first(model.layers.size());
  for (std::size_t l = 0; l < first.size(); ++l) {
    while (of(model.layers[first[l]]) != of(model.layers[l])) ++first[l];
  }
  return first;
}

std::string message(Backend& backend, Model& model, const Recipe& recipe) {
  try {
    compress_now(backend, model, recipe);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "no error";
}

// ---- what is shared -------------------------------------------------------------------------------------------------

TEST(Sharing, GroupsAreConsecutiveLayersAndBlocksAreWhole) {
  const auto backend = make_reference_backend();
  const std::vector<std::size_t> alone{0, 1, 2, 3, 4, 5};
  const std::map<int, std::vector<std::size_t>> groups{
      {1, {0, 0, 0, 0, 0, 0}}, {2, {0, 0, 0, 3, 3, 3}}, {3, {0, 0, 2, 2, 4, 4}}, {4, {0, 0, 2, 3, 3, 5}}};
  for (const auto& [count, wanted] : groups) {
    for (const std::string share : {"all", "attention", "ffn"}) {
      Model model = deep_model(*backend);
      compress_now(*backend, model, sharing(count, share));
      const std::vector<std::size_t>& attention = share == "ffn" ? alone : wanted;
      const std::vector<std::size_t>& ffn = share == "attention" ? alone : wanted;
      for (const auto linear :
           {&EncoderLayer::query, &EncoderLayer::key, &EncoderLayer::value, &EncoderLayer::attention_output}) {
        EXPECT_EQ(partners(model, [&](const EncoderLayer& l) { return (l.*linear).weight; }), attention);
        EXPECT_EQ(partners(model, [&](const EncoderLayer& l) { return (l.*linear).bias; }), attention);
      }
      for (const auto linear : {&EncoderLayer::ffn_in, &EncoderLayer::ffn_out}) {
        EXPECT_EQ(partners(model, [&](const EncoderLayer& l) { return (l.*linear).weight; }), ffn);
        EXPECT_EQ(partners(model, [&](const EncoderLayer& l) { return (l.*linear).bias; }), ffn);
      }
      EXPECT_EQ(partners(model, [](const EncoderLayer& l) { return l.attention_norm.gamma; }), attention);
      EXPECT_EQ(partners(model, [](const EncoderLayer& l) { return l.output_norm.beta; }), ffn);
    }
  }
}

TEST(Sharing, WeightsAreTheMeanOrThoseOfTheLayersThatTheTieNames) {
  const auto backend = make_reference_backend();
  const Model before = deep_model(*backend);
  const auto query = [&](std::size_t l) { return numbers(*backend, *before.layers[l].query.weight); };
  const auto gamma = [&](std::size_t l) {
    return test::values_of(*backend, before.layers[l].output_norm.gamma->tensor());
  };
  struct Case {
    std::string tie;
    std::int64_t groups;
    std::vector<std::vector<std::size_t>> sources;  ///< of each layer
  };
  for (const Case& c :
       {Case{"average", 2, {{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {3, 4, 5}, {3, 4, 5}, {3, 4, 5}}},
        Case{"stepwise", 3, {{0}, {0}, {3}, {3}, {5}, {5}}}, Case{"stepwise", 2, {{0}, {0}, {0}, {5}, {5}, {5}}},
        Case{"stepwise", 1, {{0}, {0}, {0}, {0}, {0}, {0}}}, Case{"lower", 3, {{0}, {0}, {1}, {1}, {2}, {2}}}}) {
    Model model = deep_model(*backend);
    compress_now(*backend, model, sharing(c.groups, "all", c.tie));
    for (std::size_t l = 0; l < 6; ++l) {
      const auto mean = [&](const auto& of) {
        std::vector<double> sum = of(c.sources[l].front());
        for (std::size_t n = 1; n < c.sources[l].size(); ++n) {
          const std::vector<double> more = of(c.sources[l][n]);
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
        }
        for (double& x : sum) x /= static_cast<double>(c.sources[l].size());
        return sum;
      };
      EXPECT_LT(largest_difference(numbers(*backend, *model.layers[l].query.weight), mean(query)), 1e-15) << c.tie << l;
      EXPECT_LT(largest_difference(test::values_of(*backend, model.layers[l].output_norm.gamma->tensor()), mean(gamma)),
                1e-15)
          << c.tie << l;
    }
  }
}

TEST(Sharing, FromScratchIsNewBySeedAndLeavesTheRest) {
  const auto backend = make_reference_backend();
  const Model before = deep_model(*backend);
  std::vector<std::vector<double>> drawn;
  for (const std::uint64_t seed : {1, 2, 1}) {
    Model model = deep_model(*backend);
    Recipe recipe = sharing(2, "attention", "scratch");
    recipe.seed = seed;
    compress_now(*backend, model, recipe);
    drawn.push_back(numbers(*backend, *model.layers[4].key.weight));
    EXPECT_GT(largest_difference(drawn.back(), numbers(*backend, *before.layers[4].key.weight)), 0.1);
    EXPECT_GT(largest_difference(drawn.back(), numbers(*backend, *model.layers[0].key.weight)), 0.1);
    EXPECT_EQ(test::values_of(*backend, model.layers[4].key.bias->tensor()), std::vector<double>(12, 0.0));
    EXPECT_EQ(test::values_of(*backend, model.layers[4].attention_norm.gamma->tensor()), std::vector<double>(12, 1.0));
    EXPECT_EQ(numbers(*backend, *model.layers[4].ffn_in.weight), numbers(*backend, *before.layers[4].ffn_in.weight));
  }
  EXPECT_EQ(drawn[0], drawn[2]);
  EXPECT_NE(drawn[0], drawn[1]);
}

TEST(Sharing, ThePrunedMeanIsSparseAndOneSourceKeepsItsKind) {
  const auto backend = make_reference_backend();
  for (const std::string kind : {"csr", "low_rank", "sum"}) {
    for (const std::string tie : {"average", "lower"}) {
      Model model = deep_model(*backend, 2);
      test::represent(*backend, model, kind, 6);
      std::int64_t zeros = 0;  // of both layers
      const std::vector<double> a = numbers(*backend, *model.layers[0].value.weight),
                                b = numbers(*backend, *model.layers[1].value.weight);
      for (std::size_t i = 0; i < a.size(); ++i) zeros += a[i] == 0 && b[i] == 0;
      compress_now(*backend, model, sharing(1, "all", tie));
      const LinearWeight& weight = *model.layers[1].value.weight;
      EXPECT_EQ(weight.kind(), tie == "lower" || kind == "csr" ? kind : "dense");
      if (kind == "csr" && tie == "average") {
        EXPECT_GT(zeros, 10);
        EXPECT_EQ(weight.nonzeros(*backend), 144 - zeros);
      }
    }
  }
}

// ---- repair ---------------------------------------------------------------------------------------------------------

TEST(Sharing, RepairOfFullRankIsTheModelAsItWas) {
  const auto backend = make_reference_backend();
  for (const std::string kind : {"dense", "csr", "low_rank", "masked", "sum", "shared", "shared_sum"}) {
    for (const std::string tie : {"average", "stepwise", "lower"}) {
      Model model = deep_model(*backend, 2);
      if (kind != "dense") test::represent(*backend, model, kind, 6);
      const Batch batch = test::tiny_batch(model, 5);
      const std::vector<double> before = logits_of(*backend, model, batch);
      compress_now(*backend, model, sharing(1, "ffn", tie, 10));
      EXPECT_EQ(model.layers[1].ffn_in.weight->kind(), "sum");
      EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), 1e-11) << kind << " " << tie;
    }
  }
  Model model = deep_model(*backend);  // ranks up to 12 of 12, 10 in the feed-forward matrices
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  compress_now(*backend, model, sharing(2, "attention", "average", 12));
  compress_now(*backend, model, sharing(2, "ffn", "average", 10));
  EXPECT_LT(largest_difference(logits_of(*backend, model, batch), before), 1e-11);
}

// What is left of W_l − W̄ after repair is no more than any other low rank leaves, and less with every rank.
TEST(Sharing, RepairIsTheTruncatedDifference) {
  const auto backend = make_reference_backend();
  const Model before = deep_model(*backend);
  double last = 1e9;
  for (const std::int64_t rank : {1, 4, 9}) {
    Model model = deep_model(*backend);
    compress_now(*backend, model, sharing(2, "all", "average", rank));
    double left = 0;
    for (std::size_t l = 0; l < 6; ++l) {
      const auto& sum = dynamic_cast<const SumWeight&>(*model.layers[l].query.weight);
      EXPECT_EQ(sum.first(), dynamic_cast<const SumWeight&>(*model.layers[l / 3 * 3].query.weight).first());
      EXPECT_EQ(dynamic_cast<const LowRankWeight&>(*sum.second()).rank(), rank);
      const std::vector<double> got = numbers(*backend, sum), want = numbers(*backend, *before.layers[l].query.weight);
      for (std::size_t i = 0; i < got.size(); ++i) left += (got[i] - want[i]) * (got[i] - want[i]);
      // Biases and LayerNorms stay each layer's own.
      EXPECT_EQ(test::values_of(*backend, model.layers[l].query.bias->tensor()),
                test::values_of(*backend, before.layers[l].query.bias->tensor()));
      EXPECT_EQ(test::values_of(*backend, model.layers[l].output_norm.beta->tensor()),
                test::values_of(*backend, before.layers[l].output_norm.beta->tensor()));
    }
    EXPECT_LT(left, last);
    EXPECT_GT(left, 1e-3);
    last = left;
  }
}

TEST(Sharing, ALayerAloneInItsGroupNeedsNoRepair) {
  const auto backend = make_reference_backend();
  Model model = deep_model(*backend);
  compress_now(*backend, model, sharing(4, "all", "average", 2));
  for (const std::size_t l : {0, 1, 2, 3, 4, 5}) {
    EXPECT_EQ(model.layers[l].value.weight->kind(), l == 2 || l == 5 ? "dense" : "sum") << l;
  }
}

// ---- training -------------------------------------------------------------------------------------------------------

std::map<std::string, std::vector<double>> gradients_of(Backend& backend, Model& model, const Batch& batch) {
  model.zero_gradients(backend);
  Arena arena(backend);
  Exec exec{backend, arena};
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, &saved), dlogits = exec.take(logits.rows, logits.cols);
  model.loss(exec, batch, logits, 1.0, dlogits);
  model.backward(exec, batch, saved, dlogits);
  std::map<std::string, std::vector<double>> out;
  model.visit([&](const std::string& path, Parameter& p) { out[path] = test::values_of(backend, p.gradient()); });
  return out;
}

/// Every parameter becomes a layer's own, with the same numbers.
void untie(Backend& backend, Model& model) {
  const auto copy = [&](std::shared_ptr<Parameter>& p) {
    auto own = std::make_shared<Parameter>();
    own->value = make_storage(backend, p->tensor().rows, p->tensor().cols, p->tensor().dtype);
    backend.copy(p->tensor(), own->tensor());
    p = own;
  };
  for (EncoderLayer& layer : model.layers) {
    layer.visit_linears("", [&](const std::string&, Linear& linear) {
      auto w = dynamic_cast<const DenseWeight&>(*linear.weight).parameter();
      copy(w);
      linear.weight = std::make_shared<DenseWeight>(w);
      copy(linear.bias);
    });
    for (LayerNorm* norm : {&layer.attention_norm, &layer.output_norm}) copy(norm->gamma), copy(norm->beta);
  }
}

TEST(Sharing, TheTiedGradientIsTheSumOfThoseOfItsUses) {
  const auto backend = make_reference_backend();
  Model tied = deep_model(*backend), untied = deep_model(*backend);
  const Batch batch = test::tiny_batch(tied, 5);
  compress_now(*backend, tied, sharing(2));
  compress_now(*backend, untied, sharing(2));
  untie(*backend, untied);
  const auto got = gradients_of(*backend, tied, batch), uses = gradients_of(*backend, untied, batch);
  EXPECT_LT(got.size(), uses.size());
  std::map<std::string, std::vector<double>> sums;
  for (const auto& [path, gradient] : uses) {
    std::string first = path;
    if (const std::size_t at = path.find("layer."); at != std::string::npos)
      first[at + 6] = path[at + 6] < '3' ? '0' : '3';
    std::vector<double>& sum = sums[first];
    sum.resize(gradient.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += gradient[i];
  }
  ASSERT_EQ(sums.size(), got.size());
  for (const auto& [path, gradient] : got) {
    ASSERT_TRUE(sums.contains(path)) << path;
    EXPECT_LT(largest_difference(gradient, sums[path]), 1e-12) << path;
  }
  const std::string one = "bert.encoder.layer.0.intermediate.dense.weight";
  EXPECT_GT(largest_difference(uses.at(one), got.at(one)), 1e-3) << "one use alone would pass";
}

// ---- what makes no sense --------------------------------------------------------------------------------------------

TEST(Sharing, LayersOfOtherShapesAndNonsenseAreRefused) {
  const auto backend = make_reference_backend();
  Model model = deep_model(*backend);
  EXPECT_NE(message(*backend, model, sharing(6)).find("groups: found 6, expected fewer than the model's 6 layers"),
            std::string::npos);
  EXPECT_NE(message(*backend, model, sharing(0)).find("groups: found 0"), std::string::npos);
  EXPECT_NE(message(*backend, model, sharing(2, "heads")).find("share: found \"heads\""), std::string::npos);
  EXPECT_NE(message(*backend, model, sharing(2, "all", "mean")).find("tie: found \"mean\""), std::string::npos);
  EXPECT_NE(
      message(*backend, model, sharing(2, "all", "average", 11)).find("repair_rank: found 11, expected at most 10"),
      std::string::npos);
  EXPECT_NE(message(*backend, model, sharing(2, "all", "scratch", 2)).find("--tie scratch"), std::string::npos);

  std::vector<std::vector<bool>> keep(6, std::vector<bool>(3, true));
  keep[4][1] = false;
  keep_heads(*backend, model, keep);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  const std::string text = message(*backend, model, sharing(2));
  EXPECT_NE(text.find("layers 3 and 4"), std::string::npos) << text;
  EXPECT_NE(text.find("[12, 12] and [8, 12]"), std::string::npos) << text;
  EXPECT_EQ(logits_of(*backend, model, batch), before) << "a refusal changed the model";
  EXPECT_EQ(message(*backend, model, sharing(2, "ffn")), "no error");
}

}  // namespace
}  // namespace bertx::compress
