// The stated error bounds of the elementary functions, over a dense sweep of their arguments.
#include "scene.h"

namespace bertx::test {
namespace {

class FunctionBounds : public SubjectTest {};

double normal_below(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

struct Function {
  Activation activation;
  double (*value)(double);
  double (*derivative)(double);
  double relative_to_x;  ///< the largest error of the value over |x|
  double of_derivative;  ///< the largest error of the derivative
};

// Around 0, where cancellation would show, as densely as far out: 1/4096 steps to 16 and powers down to 2^-40.
std::vector<double> sweep() {
  std::vector<double> x;
  for (int i = -16 * 4096; i <= 16 * 4096; ++i) x.push_back(i / 4096.0);
  for (int e = -40; e < 0; ++e) {
    for (int i = 8; i < 16; ++i) x.push_back(i / 8.0 * std::exp2(e)), x.push_back(-x.back());
  }
  return x;
}

TEST_P(FunctionBounds, HoldOverASweep) {
  const auto backend = make();
  const Function functions[] = {{Activation::gelu_erf, [](double x) { return x * normal_below(x); },
                                 [](double x) { return normal_below(x) + x * normal_density(x); }, 3e-7, 5e-7},
                                {Activation::tanh, [](double x) { return std::tanh(x); },
                                 [](double x) { return 1 - std::tanh(x) * std::tanh(x); }, 4e-7, 5e-7}};
  const std::vector<double> x = sweep();
  const auto count = static_cast<std::int64_t>(x.size());
  for (const Function& function : functions) {
    const Storage at = make_matrix(*backend, 1, count, x), y = make_matrix(*backend, 1, count, x);
    const Storage dy = make_matrix(*backend, 1, count, std::vector<double>(x.size(), 1.0));
    const Storage dx = make_matrix(*backend, 1, count, x);
    backend->bias_activation(at.tensor, {}, function.activation, y.tensor);
    backend->activation_grad(at.tensor, function.activation, dy.tensor, dx.tensor);
    const std::vector<double> got = values_of(*backend, y.tensor), slope = values_of(*backend, dx.tensor);
    double worst = 0, worst_slope = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (x[i] != 0) worst = std::max(worst, std::abs(got[i] - function.value(x[i])) / std::abs(x[i]));
      worst_slope = std::max(worst_slope, std::abs(slope[i] - function.derivative(x[i])));
    }
    EXPECT_LE(worst, function.relative_to_x) << "activation " << static_cast<int>(function.activation);
    EXPECT_LE(worst_slope, function.of_derivative) << "activation " << static_cast<int>(function.activation);
    if (backend->real() == DType::f32) {
      EXPECT_GT(worst, 1e-8);  // no float is exact: the comparison compares
    }
  }
}

// Two keys with scores 0 and x: the second has exp(x) / (1 + exp(x)) of the attention.
TEST_P(FunctionBounds, OfExpInAttention) {
  const auto backend = make();
  const Storage v = make_matrix(*backend, 1, 2, {0, 1}), starts = make_indices(*backend, {0, 2});
  const Storage q = make_matrix(*backend, 1, 2, {1, 1}), context = make_matrix(*backend, 1, 2, {0, 0});
  double worst = 0;
  for (double x = -86; x <= 0; x += 1.0 / 64) {
    const Storage k = make_matrix(*backend, 1, 2, {0, x});
    backend->attention({1, 1}, q.tensor, k.tensor, v.tensor, starts.tensor, {}, context.tensor, {});
    const double want = std::exp(x) / (1 + std::exp(x));
    worst = std::max(worst, std::abs(values_of(*backend, context.tensor)[1] - want) / want);
  }
  EXPECT_LE(worst, 3e-7);  // 1e-7 of exp, the sum, one over it, and the product
}

INSTANTIATE_TEST_SUITE_P(Backends, FunctionBounds, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
