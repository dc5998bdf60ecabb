// AdamW against the update written for one number as in the paper (1711.05101, algorithm 2) and in torch.optim.AdamW.
#include "scene.h"

namespace bertx::test {
namespace {

struct ScalarAdamW {
  double w, m = 0, v = 0;

  void update(double gradient, double rate, double decay, double eps, double step, bool correct) {
    constexpr double kBeta1 = 0.9, kBeta2 = 0.999;
    w = w - rate * decay * w;
    m = kBeta1 * m + (1 - kBeta1) * gradient;
    v = kBeta2 * v + (1 - kBeta2) * gradient * gradient;
    const double m_hat = correct ? m / (1 - std::pow(kBeta1, step)) : m;
    const double v_hat = correct ? v / (1 - std::pow(kBeta2, step)) : v;
    w = w - rate * m_hat / (std::sqrt(v_hat) + eps);
  }
};

class AdamW : public SubjectTest {
 protected:
  struct Run {
    double decay = 0, factor = 1, scale = 1, eps = 1e-8;
    bool correct = true;
  };

  // Five updates of 37 numbers, step by step beside the scalar formula.
  void expect_as_scalar(const Run& run) {
    const auto backend = make();
    RandomSource random(5);
    constexpr std::int64_t kCount = 37;
    const auto start = random.normals(kCount);
    const Storage value = make_matrix(*backend, 1, kCount, start);
    const Storage first = make_storage(*backend, 1, kCount, backend->real());
    const Storage second = make_storage(*backend, 1, kCount, backend->real());
    std::vector<ScalarAdamW> scalars;
    for (const double w : start) scalars.push_back({w});
    for (std::int64_t step = 1; step <= 5; ++step) {
      const auto gradient = random.normals(kCount, 0.1);
      const Storage g = make_matrix(*backend, 1, kCount, gradient);
      const AdamWItem item{value.tensor, g.tensor, first.tensor, second.tensor, run.decay, run.factor};
      AdamWStep update{.learning_rate = 1e-2, .eps = run.eps, .step = step, .bias_correction = run.correct};
      update.gradient_scale = run.scale;
      backend->adamw(update, {&item, 1});
      std::vector<double> w, m, v;
      for (std::size_t i = 0; i < scalars.size(); ++i) {
        scalars[i].update(gradient[i] * run.scale, 1e-2 * run.factor, run.decay, run.eps, static_cast<double>(step),
                          run.correct);
        w.push_back(scalars[i].w);
        m.push_back(scalars[i].m);
        v.push_back(scalars[i].v);
      }
      EXPECT_TRUE(all_near(values_of(*backend, value.tensor), w, backend->real(), step, 4)) << "step " << step;
      EXPECT_TRUE(all_near(values_of(*backend, first.tensor), m, backend->real(), step, 0.4)) << "step " << step;
      EXPECT_TRUE(all_near(values_of(*backend, second.tensor), v, backend->real(), step, 1e-3)) << "step " << step;
      EXPECT_EQ(values_of(*backend, g.tensor), std::vector<double>(kCount, 0.0)) << "step " << step;
    }
  }
};

TEST_P(AdamW, AsTorch) { expect_as_scalar({}); }
TEST_P(AdamW, WithDecay) { expect_as_scalar({.decay = 0.1}); }
TEST_P(AdamW, AsTheOriginalBertWithoutBiasCorrection) {
  expect_as_scalar({.decay = 0.01, .eps = 1e-6, .correct = false});
}
TEST_P(AdamW, WithClippingAndARateOfItsOwn) { expect_as_scalar({.decay = 0.01, .factor = 30, .scale = 0.25}); }

// A pruned weight has no gradient any more. Its mean ends at 0 and not among the subnormal numbers, with which each
// further step would take several times as long; what the caller computes keeps them.
TEST_P(AdamW, TheMeanOfAPrunedWeightEndsAtZero) {
  if (GetParam().backend != "cpu") GTEST_SKIP() << "subnormal numbers are slow on processors only";
  const auto backend = make();
  const Storage value = make_matrix(*backend, 1, 2, {1, 1}), gradient = make_matrix(*backend, 1, 2, {0, 0});
  const Storage first = make_matrix(*backend, 1, 2, {1e-30, -1e-3});
  const Storage second = make_matrix(*backend, 1, 2, {1e-36, 1e-6});
  const AdamWItem item{value.tensor, gradient.tensor, first.tensor, second.tensor};
  for (std::int64_t step = 1; step <= 250; ++step) backend->adamw({.learning_rate = 1e-3, .step = step}, {&item, 1});
  const std::vector<double> means = values_of(*backend, first.tensor);
  EXPECT_EQ(means[0], 0);
  EXPECT_LT(means[1], 0);
  const volatile float tiny = 0x1p-140f;
  EXPECT_EQ(tiny * 0.5f, 0x1p-141f);
}

// By hand: the first corrected step moves by the learning rate against the sign of the gradient, whatever its size.
TEST_P(AdamW, FirstStepIsTheLearningRate) {
  const auto backend = make();
  const Storage value = make_matrix(*backend, 1, 3, {1, 1, 1}), gradient = make_matrix(*backend, 1, 3, {5, -1e-3, 0});
  const Storage first = make_storage(*backend, 1, 3, backend->real());
  const Storage second = make_storage(*backend, 1, 3, backend->real());
  const AdamWItem item{value.tensor, gradient.tensor, first.tensor, second.tensor, 0.5};
  backend->adamw({.learning_rate = 0.1, .eps = 0, .step = 1, .gradient_scale = 1}, {&item, 1});
  const auto values = values_of(*backend, value.tensor);
  EXPECT_NEAR(values[0], 0.95 - 0.1, 1e-6);
  EXPECT_NEAR(values[1], 0.95 + 0.1, 1e-6);
}

// Rows without a gradient, and rows that never had one, move by the very bits that gradients of 0 give them.
TEST_P(AdamW, LeavingOutZerosChangesNoBit) {
  const auto backend = make();
  constexpr std::int64_t kRows = 3, kCols = 29;
  RandomSource random(7);
  const auto start = random.normals(kRows * kCols), moment = random.normals(kCols, 0.1);
  struct Tensors {
    Storage value, gradient, first, second;
  };
  const auto make_tensors = [&] {
    Tensors t{make_matrix(*backend, kRows, kCols, start), make_storage(*backend, kRows, kCols, backend->real()),
              make_storage(*backend, kRows, kCols, backend->real()),
              make_storage(*backend, kRows, kCols, backend->real())};
    std::vector<double> row = moment;  // row 0 has a past, row 1 a gradient, row 2 neither
    backend->upload(view(row.data(), 1, kCols, DType::f64), t.first.tensor.row_range(0, 1));
    for (double& x : row) x *= x;
    backend->upload(view(row.data(), 1, kCols, DType::f64), t.second.tensor.row_range(0, 1));
    return t;
  };
  const Tensors whole = make_tensors(), parts = make_tensors();
  for (std::int64_t step = 1; step <= 4; ++step) {
    std::vector<double> row = random.normals(kCols);
    const AdamWStep update{.learning_rate = 0.01, .step = step, .gradient_scale = 0.5};
    for (const Tensors* t : {&whole, &parts}) {
      backend->upload(view(row.data(), 1, kCols, DType::f64), t->gradient.tensor.row_range(1, 1));
    }
    const AdamWItem all{whole.value.tensor, whole.gradient.tensor, whole.first.tensor, whole.second.tensor, 0.1};
    backend->adamw(update, {&all, 1});
    std::vector<AdamWItem> rows;
    for (std::int64_t i = 0; i < kRows; ++i) {
      const auto at = [i](const Storage& x) { return x.tensor.row_range(i, 1); };
      rows.push_back({at(parts.value), i == 1 ? at(parts.gradient) : Tensor{}, i < 2 ? at(parts.first) : Tensor{},
                      i < 2 ? at(parts.second) : Tensor{}, 0.1});
    }
    backend->adamw(update, rows);
    for (Storage Tensors::*field : {&Tensors::value, &Tensors::first, &Tensors::second}) {
      EXPECT_EQ(values_of(*backend, (parts.*field).tensor), values_of(*backend, (whole.*field).tensor));
    }
  }
  EXPECT_NE(values_of(*backend, parts.value.tensor), start);
}

INSTANTIATE_TEST_SUITE_P(Backends, AdamW, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
