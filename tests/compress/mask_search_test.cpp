// Pruning without training as a whole, and its last part: factors by least squares.
#include <Eigen/Cholesky>
#include <cmath>

#include "calibration/layer_by_layer.h"
#include "structure/rescale.h"
#include "structure_fixture.h"

namespace bertx::compress {
namespace {

using test::logits_of;

Recipe searching(double budget, bool rescale = true, const std::string& of = "multiplies") {
  Recipe recipe{.method = "mask_search"};
  recipe.budget = budget;
  recipe.budget_of = of;
  recipe.rescale = rescale;
  return recipe;
}

// ---- factors --------------------------------------------------------------------------------------------------------

// min over m of ‖Σ m_j W_j X_j − B‖² + damp² s ‖m − 1‖², by a matrix with one column a block.
TEST(Rescale, FactorsAreTheLeastSquaresOnes) {
  const auto backend = make_reference_backend();
  test::RandomSource random(7);
  const std::int64_t hidden = 5, block = 2, n = 6, blocks = n / block;
  auto w = std::make_shared<Parameter>();
  w->value = test::random_matrix(*backend, random, hidden, n);
  const DenseWeight weight(w);
  ScaleFit fit(*backend, weight, block);
  Eigen::MatrixXd a(0, blocks);
  Eigen::VectorXd b(0);
  for (const std::int64_t tokens : {4, 7}) {
    const Storage x = test::random_matrix(*backend, random, n, tokens),
                  residual = test::random_matrix(*backend, random, hidden, tokens),
                  y = make_storage(*backend, hidden, tokens, DType::f64);
    std::vector<double> wanted = random.normals(hidden * tokens);
    backend->copy(residual.tensor, y.tensor);
    backend->gemm(Trans::no, Trans::no, w->tensor(), x.tensor, y.tensor, Write::add);
    fit.add(x.tensor, y.tensor, wanted);
    const Matrix wm = matrix_of(*backend, w->tensor()), xm = matrix_of(*backend, x.tensor),
                 rm = matrix_of(*backend, residual.tensor);
    const Eigen::Index old = a.rows();
    a.conservativeResize(old + hidden * tokens, blocks);
    b.conservativeResize(old + hidden * tokens);
    for (std::int64_t i = 0; i < hidden; ++i) {
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t j = 0; j < blocks; ++j) {
          a(old + i * tokens + t, j) = wm.row(i).segment(j * block, block).dot(xm.col(t).segment(j * block, block));
        }
        b(old + i * tokens + t) = wanted[static_cast<std::size_t>(i * tokens + t)] - rm(i, t);
      }
    }
  }
  const double unit = a.colwise().squaredNorm().mean();
  const auto objective = [&](const Eigen::VectorXd& m, double damp) {
    return (a * m - b).squaredNorm() + damp * damp * unit * (m - Eigen::VectorXd::Ones(blocks)).squaredNorm();
  };
  for (const double damp : {1e-6, 0.3, 1.0, 5.0}) {
    const Eigen::MatrixXd normal = a.transpose() * a + damp * damp * unit * Eigen::MatrixXd::Identity(blocks, blocks);
    const Eigen::VectorXd right = a.transpose() * (b - a * Eigen::VectorXd::Ones(blocks));
    const Eigen::VectorXd want = Eigen::VectorXd::Ones(blocks) + normal.ldlt().solve(right);
    const std::vector<double> found = fit.solve(damp);
    ASSERT_EQ(found.size(), static_cast<std::size_t>(blocks));
    Eigen::VectorXd m(blocks);
    for (Eigen::Index j = 0; j < blocks; ++j) {
      m(j) = found[static_cast<std::size_t>(j)];
      EXPECT_NEAR(m(j), want(j), 1e-10) << damp;
    }
    EXPECT_LE(objective(m, damp), objective(Eigen::VectorXd::Ones(blocks), damp));
    for (Eigen::Index j = 0; j < blocks; ++j) {  // any step away from the optimum costs
      EXPECT_GT(objective(m + 1e-3 * Eigen::VectorXd::Unit(blocks, j), damp), objective(m, damp));
    }
  }
}

TEST(Rescale, ColumnsOfEveryKindAreScaledAndTheOldWeightStays) {
  const auto backend = make_reference_backend();
  for (const std::string kind : {"dense", "masked", "csr"}) {
    Model model = classifier(*backend, 2, kind);
    LinearWeight& old = *model.layers[0].ffn_out.weight;
    const Matrix before = matrix_of(*backend, old);
    const std::vector<double> factors{1, 2, 0.5, -1, 3, 1, 1, 0, 7, 1};
    const auto made = scaled_columns(*backend, old, factors, "here");
    EXPECT_EQ(made->kind(), kind);
    const Matrix after = matrix_of(*backend, *made);
    for (int i = 0; i < 12; ++i) {
      for (int j = 0; j < 10; ++j) EXPECT_EQ(after(i, j), before(i, j) * factors[static_cast<std::size_t>(j)]);
    }
    EXPECT_EQ(matrix_of(*backend, old), before);
    EXPECT_EQ(made->nonzeros(*backend), kind == "csr" ? old.nonzeros(*backend) : made->nonzeros(*backend));
  }
  Model factorised = classifier(*backend, 2, "low_rank");
  EXPECT_REFUSED(scaled_columns(*backend, *factorised.layers[0].ffn_out.weight, std::vector<double>(10, 1), "here"),
                 "here: found a weight of kind low_rank, expected dense, masked or csr");
}

// A model whose parts were all made half as strong gets much of it back: the factors are 2 but for the damping.
TEST(Rescale, AFactorThatWasTakenAwayComesBack) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(60);
  const Calibration texts{examples, LabelKind::single_label};
  Model model = classifier(*backend, 1);
  const std::vector<EncoderLayer> before = model.layers;
  const Matrix want = matrix_of(*backend, *before[0].ffn_out.weight);
  model.layers[0].ffn_out.weight =
      scaled_columns(*backend, *before[0].ffn_out.weight, std::vector<double>(10, 0.5), "");
  rescale_parts(*backend, model, before, texts, 7);
  const Matrix found = matrix_of(*backend, *model.layers[0].ffn_out.weight);
  EXPECT_LT((found - want).norm(), 0.35 * want.norm());  // it was 0.5

  // Factors beyond 10 mean that nothing can be told: the weights stay.
  model.layers = before;
  model.layers[0].ffn_out.weight =
      scaled_columns(*backend, *before[0].ffn_out.weight, std::vector<double>(10, 0.01), "");
  const Matrix small = matrix_of(*backend, *model.layers[0].ffn_out.weight);
  for (EncoderLayer layer : before) {
    layer.ffn_out.weight = scaled_columns(*backend, *layer.ffn_out.weight, std::vector<double>(10, 1e4), "");
    rescale_parts(*backend, model, {layer}, texts, 7);
  }
  EXPECT_EQ(matrix_of(*backend, *model.layers[0].ffn_out.weight), small);
}

// ---- the method -----------------------------------------------------------------------------------------------------

double multiplies(const Model& model, double tokens) {
  double sum = 0;
  for (const LayerShape& s : model.config.layers) {
    sum += tokens * static_cast<double>(4 * 12 * 4 * s.heads + 2 * 12 * s.ffn) +
           tokens * tokens * static_cast<double>(2 * 4 * s.heads);
  }
  return sum;
}

TEST(MaskSearch, TheBudgetIsMetAndSpent) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(40);
  double tokens = 0;
  for (const EncodedExample& example : examples) tokens += static_cast<double>(example.ids.size()) / 40;
  const double whole = multiplies(classifier(*backend), tokens), neuron = 24 * tokens;
  for (const double budget : {0.05, 0.3, 0.5, 0.77, 1.0}) {
    for (const bool rescale : {true, false}) {
      Model model = classifier(*backend);
      compress_now(*backend, model, searching(budget, rescale), {examples, LabelKind::single_label});
      const double left = multiplies(model, tokens);
      EXPECT_LE(left, budget * whole * (1 + 1e-9));
      const auto neurons = sizes(model, &LayerShape::ffn);
      // What is left over would not pay for another neuron, unless all are there: then for no head.
      const double step = neurons == std::vector<std::int64_t>{10, 10} ? 192 * tokens + 8 * tokens * tokens : neuron;
      EXPECT_GT(left, budget * whole - step) << budget;
      EXPECT_EQ(model.layers[0].shape, model.config.layers[0]);
      EXPECT_EQ(model.layers[1].attention_output.weight->in(), 4 * model.config.layers[1].heads);
    }
  }
}

TEST(MaskSearch, WithTheWholeBudgetNothingChanges) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(10);
  Model model = classifier(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  compress_now(*backend, model, searching(1.0), {examples, LabelKind::single_label});
  const std::vector<double> after = logits_of(*backend, model, batch);
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-9);
}

// Mean square of what the hidden states before the last layer's norm have lost, over the calibration texts.
double lost(Backend& backend, const Model& model, const Model& whole, const Calibration& texts) {
  double sum = 0;
  Arena arena(backend);
  for_batches(model, texts, 8, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    const Matrix a = matrix_of(backend, model.encode(exec, batch)), b = matrix_of(backend, whole.encode(exec, batch));
    sum += (a - b).squaredNorm();
  });
  return sum;
}

TEST(MaskSearch, RescalingLosesLessOfTheHiddenStates) {
  for (const bool on_cpu : {false, true}) {
    const auto backend = on_cpu ? make_cpu_backend() : make_reference_backend();
    const std::vector<EncodedExample> examples = labelled_texts(64);
    const Calibration texts{examples, LabelKind::single_label};
    for (const std::string kind : {"dense", "masked", "csr"}) {
      const Model whole = classifier(*backend, 3, kind);
      Model plain = classifier(*backend, 3, kind), rescaled = classifier(*backend, 3, kind);
      compress_now(*backend, plain, searching(0.6, false), texts);
      compress_now(*backend, rescaled, searching(0.6, true), texts);
      EXPECT_EQ(plain.config.layers, rescaled.config.layers);
      EXPECT_LT(lost(*backend, rescaled, whole, texts), 0.95 * lost(*backend, plain, whole, texts)) << kind;
      EXPECT_EQ(rescaled.layers[1].ffn_out.weight->kind(), kind);
    }
  }
}

TEST(MaskSearch, BudgetsOfLatencyAreMeasured) {
  const auto backend = make_cpu_backend();
  const std::vector<EncodedExample> examples = labelled_texts(10);
  Model model = classifier(*backend);
  compress_now(*backend, model, searching(0.5, true, "latency"), {examples, LabelKind::single_label});
  EXPECT_LT(multiplies(model, 5), multiplies(classifier(*backend), 5));
  Model sparse = classifier(*backend, 2, "csr");
  EXPECT_REFUSED(compress_now(*backend, sparse, searching(0.5, true, "latency"), {examples, LabelKind::single_label}),
                 "query: found a weight of kind csr, expected dense or masked with budget_of latency");
}

TEST(MaskSearch, WhatHasNoHeadsAndNeuronsOfItsOwnIsRefusedAndStays) {
  const auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = labelled_texts(4);
  for (const auto& [kind, part] : {std::pair<std::string, std::string>{"low_rank", "kind low_rank, expected dense"},
                                   {"sum", "kind sum"},
                                   {"tucker", "kind tucker"},
                                   {"shared", "found a weight that is shared"}}) {
    Model model = classifier(*backend, 2, kind);
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> before = logits_of(*backend, model, batch);
    EXPECT_REFUSED(compress_now(*backend, model, searching(0.5), {examples, LabelKind::single_label}), part);
    EXPECT_EQ(logits_of(*backend, model, batch), before);
  }
  Model model = classifier(*backend);
  EXPECT_REFUSED(compress_now(*backend, model, searching(0.5)), "found no labelled examples");
  EXPECT_REFUSED(compress_now(*backend, model, searching(0.0), {examples, LabelKind::single_label}), "budget: found 0");
}

}  // namespace
}  // namespace bertx::compress
