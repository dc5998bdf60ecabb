// Models whose matrices become factors: full ranks change nothing, errors are those promised, all kinds go in.
#include <gtest/gtest.h>

#include "bertx/sum_weight.h"
#include "calibration/examples.h"
#include "factorization/factorizer.h"
#include "factorization/input_fisher.h"
#include "factors_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

class Factorize : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend = make_reference_backend();
  std::vector<EncodedExample> texts = test::tiny_examples(11);
  Calibration calibration{texts, LabelKind::single_label};
};

INSTANTIATE_TEST_SUITE_P(Methods, Factorize, testing::Values("svd", "fwsvd", "drone", "low_rank_sparse"),
                         [](const auto& test) { return test.param; });

TEST_P(Factorize, AtFullRankTheModelIsAsItWas) {
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  compress_now(*backend, model, factors(GetParam(), 10, true), calibration);  // of the feed-forward matrices
  for (EncoderLayer& layer : model.layers) EXPECT_NE(layer.ffn_in.weight->kind(), "dense");
  EXPECT_GT(largest_difference(logits_of(*backend, model, batch), before), 1e-9);

  Config config = test::tiny_config(test::tiny_heads().front());
  config.ffn = 12;
  for (LayerShape& layer : config.layers) layer.ffn = 12;
  Model square = make_model(*backend, config, 3);
  const std::vector<double> whole = logits_of(*backend, square, batch);
  compress_now(*backend, square, factors(GetParam(), 12, true), calibration);
  EXPECT_EQ(kinds_of(square).count("dense"), 0u);
  EXPECT_LT(largest_difference(logits_of(*backend, square, batch), whole), 1e-11);
}

TEST_P(Factorize, CostsWhatItsRankSaysAndComesBackFromAFile) {
  Model model = tiny_model(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::int64_t before = model.parameter_count();
  compress_now(*backend, model, factors(GetParam(), 3), calibration);
  const bool sparse = GetParam() == "low_rank_sparse";
  std::int64_t saved = 0;
  for (const auto& [path, linear] : maps_of(model)) {
    const LinearWeight& w = *linear->weight;
    const std::int64_t size = w.out() * w.in(), beside = sparse ? size / 20 : 0;
    EXPECT_EQ(w.kind(), sparse ? "sum" : "low_rank") << path;
    EXPECT_EQ(w.multiplies(), 3 * (w.out() + w.in()) + beside) << path;
    saved += size - w.multiplies();
  }
  EXPECT_EQ(model.parameter_count(), before - saved);
  test::TemporaryDirectory directory;
  save_model(*backend, model, directory.path(), ExportForm::native);
  Model again = load_model(*backend, directory.path());
  EXPECT_EQ(kinds_of(again), kinds_of(model));
  EXPECT_LT(largest_difference(logits_of(*backend, again, batch), logits_of(*backend, model, batch)), 1e-4);
}

TEST_P(Factorize, TakesEveryKindThatHasNumbersOfItsOwn) {
  for (const char* kind : {"masked", "csr", "low_rank", "low_rank_csr", "sum", "shared", "no_heads", "few_heads",
                           "few_neurons", "embedding"}) {
    Model model = tiny_model(*backend);
    test::represent(*backend, model, kind, 6);
    std::map<std::string, std::int64_t> multiplies;
    for (const auto& [path, linear] : maps_of(model)) multiplies[path] = linear->weight->multiplies();
    Recipe recipe = factors(GetParam(), 1);
    recipe.remainder_sparsity = 0.98;
    compress_now(*backend, model, recipe, calibration);
    for (const auto& [path, linear] : maps_of(model)) {
      const LinearWeight& w = *linear->weight;
      EXPECT_LE(w.multiplies(), multiplies.at(path)) << kind << " " << path;
      const bool factored = w.kind() == (GetParam() == "low_rank_sparse" ? "sum" : "low_rank");
      const std::int64_t cheapest = w.out() + w.in() + (GetParam() == "low_rank_sparse" ? w.out() * w.in() / 50 : 0);
      EXPECT_TRUE(factored || w.out() * w.in() == 0 || cheapest > multiplies.at(path))
          << kind << " " << path << " " << w.kind();
    }
    const bool shared = model.layers[0].query.weight == model.layers[1].query.weight;
    EXPECT_EQ(shared, std::string_view(kind) == "shared");
    for (const double logit : logits_of(*backend, model, test::tiny_batch(model, 5))) EXPECT_TRUE(std::isfinite(logit));
  }
}

TEST_P(Factorize, RefusesWeightsThatShareAPart) {
  for (const char* kind : {"shared_sum", "tucker"}) {
    Model model = tiny_model(*backend);
    test::represent(*backend, model, kind, 6);
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> before = logits_of(*backend, model, batch);
    const std::string text = refusal(*backend, model, factors(GetParam(), 1), calibration);
    EXPECT_NE(text.find("a part in common with bert.encoder.layer.0.attention"), std::string::npos) << text;
    EXPECT_EQ(logits_of(*backend, model, batch), before);
  }
}

TEST_P(Factorize, IsTheSameTwiceAndBothFactorsTrain) {
  const auto cpu = make_cpu_backend();
  Model model = tiny_model(*cpu), twin = tiny_model(*cpu);
  const Batch batch = test::tiny_batch(model, 5);
  compress_now(*cpu, model, factors(GetParam(), 3), calibration);
  compress_now(*cpu, twin, factors(GetParam(), 3), calibration);
  EXPECT_EQ(logits_of(*cpu, model, batch), logits_of(*cpu, twin, batch));

  Arena arena(*cpu);
  Exec exec{*cpu, arena};
  Model::Saved saved;
  model.zero_gradients(*cpu);
  const Tensor logits = model.forward(exec, batch, &saved), dlogits = exec.take(logits.rows, logits.cols);
  model.loss(exec, batch, logits, 1.0, dlogits);
  model.backward(exec, batch, saved, dlogits);
  int factors_seen = 0;
  model.visit([&](const std::string& path, Parameter& p) {
    if (!path.ends_with(".u") && !path.ends_with(".v") && !path.ends_with(".values")) return;
    const Tensor gradient = p.gradient();
    EXPECT_GT(cpu->sum_of_squares({&gradient, 1}), 0.0) << path;
    ++factors_seen;
  });
  EXPECT_EQ(factors_seen, GetParam() == "low_rank_sparse" ? 36 : 24);
}

TEST_P(Factorize, BeforeTrainingItActsOnce) {
  Model model = tiny_model(*backend);
  const auto hook = make_compressor(factors(GetParam(), 3), calibration);
  hook->begin(*backend, model, {.step = 5, .resumed = true});
  hook->begin(*backend, model, {.step = 0, .resumed = true});  // stopped before the first update
  EXPECT_EQ(kinds_of(model), (std::map<std::string, int>{{"dense", 12}}));
  hook->begin(*backend, model, {.step = 0});
  EXPECT_EQ(kinds_of(model).count("dense"), 0u);
}

// ---- what is measured -----------------------------------------------------------------------------------------------

using FactorizeData = Factorize;

// Output errors of layer 0, whose inputs are those of the model as it was: by DRONE what the spectrum says, and less
// than by the plain decomposition.
TEST_F(FactorizeData, DroneLosesWhatItsSpectrumSaysAndLessThanSvd) {
  Model before = tiny_model(*backend), drone = tiny_model(*backend), svd = tiny_model(*backend);
  std::map<std::string, Matrix> grams;
  run_inputs(*backend, before, calibration, 4, [&](const std::string& path, Linear&, Tensor x) {
    const Matrix seen = matrix_of(*backend, x);
    Matrix& gram = grams[path];
    if (gram.size() == 0) gram = Matrix::Zero(x.rows, x.rows);
    gram += seen * seen.transpose();
  });
  compress_now(*backend, drone, factors("drone", 3), calibration);
  compress_now(*backend, svd, factors("svd", 3));
  for (std::size_t i = 0; i < 6; ++i) {
    const auto [path, linear] = maps_of(before)[i];
    const Matrix w = matrix_of(*backend, *linear->weight), &c = grams.at(path);
    const Matrix by_inputs = matrix_of(*backend, *maps_of(drone)[i].second->weight) - w;
    const Matrix plain = matrix_of(*backend, *maps_of(svd)[i].second->weight) - w;
    // The map's own inputs: those of attention output and feed-forward come from maps before them in the layer, as it
    // was.
    const Eigen::VectorXd energies = decompose(w, metric_of(c)).energies;
    EXPECT_NEAR(squared_error(by_inputs, c), energies.tail(energies.size() - 3).sum(), 1e-8 * energies.sum()) << path;
    EXPECT_LT(squared_error(by_inputs, c), squared_error(plain, c)) << path;
    EXPECT_GT(by_inputs.squaredNorm(), plain.squaredNorm()) << path;
  }
}

// Layer 1 is measured behind the factors of layer 0.
TEST_F(FactorizeData, DroneMeasuresBehindTheLayersBefore) {
  Model model = tiny_model(*backend), behind = tiny_model(*backend);
  compress_now(*backend, model, factors("drone", 3), calibration);
  for (std::size_t i = 0; i < 6; ++i) maps_of(behind)[i].second->weight = maps_of(model)[i].second->weight;
  Matrix gram = Matrix::Zero(12, 12);
  const std::string path = maps_of(behind)[6].first;
  run_inputs(*backend, behind, calibration, 4, [&](const std::string& name, Linear&, Tensor x) {
    if (name == path) gram += matrix_of(*backend, x) * matrix_of(*backend, x).transpose();
  });
  const Matrix w = matrix_of(*backend, *tiny_model(*backend).layers[1].query.weight);
  const Factors want = truncate(w, decompose(w, metric_of(gram)), 3);
  EXPECT_TRUE(matrix_of(*backend, *model.layers[1].query.weight).isApprox(want.u * want.v, 1e-8));
}

// Σ_i (dL/dW_ij)² by central differences of each text's own loss.
TEST_F(FactorizeData, TheFisherOfInputsIsTheMeanOfEachTextsSquaredGradients) {
  texts.resize(3);
  calibration.examples = texts;
  Model model = tiny_model(*backend);
  test::represent(*backend, model, "few_heads", 6);
  model.zero_gradients(*backend);
  const Recipe recipe = factors("fwsvd", 1);
  const Factorizer factorizer(*backend, model, recipe);
  const std::vector<Eigen::VectorXd> fisher = input_fisher(*backend, model, calibration, factorizer);
  Linear& linear = model.layers[1].ffn_in;
  const Target* const target = factorizer.target_of(linear);
  ASSERT_NE(target, nullptr);
  EXPECT_EQ(factorizer.target_of(model.layers[0].query), nullptr);  // it has no heads
  const Eigen::VectorXd& found = fisher[factorizer.index_of(*target)];
  ASSERT_EQ(found.size(), 12);

  const Tensor w = static_cast<DenseWeight&>(*linear.weight).parameter()->tensor();
  EXPECT_FALSE(static_cast<DenseWeight&>(*linear.weight).parameter()->gradient().empty()) << "it had one before";
  for (const std::int64_t input : {0, 5, 11}) {
    double sum = 0;
    std::vector<double> together(static_cast<std::size_t>(w.rows));  // of all texts in one batch
    for (const EncodedExample& text : texts) {
      const std::vector<std::int64_t> zero{0};
      const Batch batch = collate({&text, 1}, zero, LabelKind::single_label, 3);
      const auto loss = [&] {
        Arena arena(*backend);
        Exec exec{*backend, arena};
        return model.loss(exec, batch, model.forward(exec, batch));
      };
      for (std::int64_t row = 0; row < w.rows; ++row) {
        double& weight = w.as<double>()[row * w.stride + input];
        const double original = weight, step = 1e-5;
        weight = original + step;
        const double above = loss();
        weight = original - step;
        const double below = loss();
        weight = original;
        const double gradient = (above - below) / (2 * step);
        sum += gradient * gradient;
        together[static_cast<std::size_t>(row)] += gradient;
      }
    }
    EXPECT_NEAR(found[input], sum / 3, 1e-6 * found.maxCoeff());
    EXPECT_GT(found[input], 0.0);
    double of_the_batch = 0;  // which is another number
    for (const double gradient : together) of_the_batch += gradient * gradient;
    EXPECT_GT(std::abs(found[input] - of_the_batch / 3), 1e-3 * found[input]);
  }
}

TEST_F(FactorizeData, FwsvdIsTheDecompositionByItsFisher) {
  Model model = tiny_model(*backend), before = tiny_model(*backend);
  const Recipe recipe = factors("fwsvd", 3);
  std::vector<Eigen::VectorXd> fisher;
  {
    const Factorizer factorizer(*backend, before, recipe);
    fisher = input_fisher(*backend, before, calibration, factorizer);
  }
  compress_now(*backend, model, recipe, calibration);
  for (std::size_t i = 0; i < fisher.size(); ++i) {
    const Matrix w = matrix_of(*backend, *maps_of(before)[i].second->weight);
    const Factors want = truncate(w, decompose(w, diagonal_metric(fisher[i])), 3);
    EXPECT_TRUE(matrix_of(*backend, *maps_of(model)[i].second->weight).isApprox(want.u * want.v, 1e-9)) << i;
  }
}

TEST_F(FactorizeData, RanksByEnergyAndErrorKeepWhatTheySay) {
  for (const std::string by : {"energy", "error"}) {
    Model model = tiny_model(*backend), before = tiny_model(*backend);
    Recipe recipe{.method = "svd", .rank_by = by, .allow_slower = true};
    (by == "energy" ? recipe.energy : recipe.error) = by == "energy" ? 0.8 : 0.5;
    compress_now(*backend, model, recipe);
    for (std::size_t i = 0; i < 12; ++i) {
      const Matrix w = matrix_of(*backend, *maps_of(before)[i].second->weight);
      const Matrix left_out = w - matrix_of(*backend, *maps_of(model)[i].second->weight);
      EXPECT_LE(left_out.squaredNorm(), (by == "energy" ? 0.2 : 0.25) * w.squaredNorm() * (1 + 1e-9));
      EXPECT_GT(left_out.squaredNorm(), 0.0);
    }
  }
}

TEST_F(FactorizeData, MethodsThatMeasureNeedTexts) {
  for (const char* method : {"fwsvd", "drone"}) {
    Model model = tiny_model(*backend);
    EXPECT_NE(refusal(*backend, model, factors(method, 3)).find("labelled examples"), std::string::npos);
  }
}

}  // namespace
}  // namespace bertx::compress
