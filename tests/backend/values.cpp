// Results known from elsewhere (by hand, or from the definition with numbers chosen so that it is short), on every
// backend: the one check of the reference backend's forwards that does not rest on itself. And values that hurt.
#include "scene.h"

namespace bertx::test {
namespace {

class Values : public SubjectTest {
 protected:
  void SetUp() override {
    SubjectTest::SetUp();
    if (!IsSkipped()) backend_ = make();
  }
  Storage matrix(std::int64_t rows, std::int64_t cols, const std::vector<double>& values) {
    return make_matrix(*backend_, rows, cols, values);
  }
  Storage zeros(std::int64_t rows, std::int64_t cols) { return make_storage(*backend_, rows, cols, backend_->real()); }
  testing::AssertionResult equal(const Storage& x, const std::vector<double>& want, double magnitude = 1) {
    return all_near(values_of(*backend_, x.tensor), want, backend_->real(), 1, magnitude);
  }
  double loose() const { return tolerance(backend_->real(), 100, 10); }

  std::unique_ptr<Backend> backend_;
};

TEST_P(Values, Gemm) {
  const Storage a = matrix(2, 3, {1, 2, 3, 4, 5, 6}), b = matrix(3, 2, {7, 8, 9, 10, 11, 12}), c = zeros(2, 2);
  backend_->gemm(Trans::no, Trans::no, a.tensor, b.tensor, c.tensor, Write::overwrite);
  EXPECT_TRUE(equal(c, {58, 64, 139, 154}, 154));
  backend_->gemm(Trans::no, Trans::no, a.tensor, b.tensor, c.tensor, Write::add);
  EXPECT_TRUE(equal(c, {116, 128, 278, 308}, 308));
  backend_->gemm(Trans::yes, Trans::yes, b.tensor, a.tensor, c.tensor, Write::overwrite);  // (A B)ᵀ
  EXPECT_TRUE(equal(c, {58, 139, 64, 154}, 154));
}

TEST_P(Values, ActivationsAtOneAndMinusTwo) {
  struct Case {
    Activation activation;
    double at_one, at_minus_two;
  };
  for (const Case& expected : {Case{Activation::none, 1, -2}, Case{Activation::relu, 1, 0},
                               Case{Activation::tanh, 0.76159415595576489, -0.96402758007581688},
                               Case{Activation::gelu_erf, 0.84134474606854295, -0.045500263896358417},
                               Case{Activation::gelu_tanh, 0.84119199060827673, -0.045402305912225015}}) {
    const Storage x = matrix(2, 1, {0.5, -2.5}), bias = matrix(2, 1, {0.5, 0.5}), y = zeros(2, 1);
    backend_->bias_activation(x.tensor, bias.tensor, expected.activation, y.tensor);
    EXPECT_TRUE(equal(y, {expected.at_one, expected.at_minus_two}, 2));
    EXPECT_TRUE(equal(x, {1, -2}, 2));
  }
}

TEST_P(Values, ActivationsFarFromZero) {
  const std::vector<double> far{-1e4, -100, -40, -10, 0, 10, 40, 100, 1e4};
  for (const Activation activation : {Activation::gelu_erf, Activation::gelu_tanh, Activation::relu}) {
    const Storage x = matrix(1, 9, far), y = zeros(1, 9), dy = matrix(1, 9, std::vector<double>(9, 1.0));
    const Storage dx = zeros(1, 9);
    backend_->bias_activation(x.tensor, {}, activation, y.tensor);
    backend_->activation_grad(x.tensor, activation, dy.tensor, dx.tensor);
    EXPECT_TRUE(equal(y, {0, 0, 0, 0, 0, 10, 40, 100, 1e4}));
    EXPECT_TRUE(equal(dx, {0, 0, 0, 0, activation == Activation::relu ? 0 : 0.5, 1, 1, 1, 1}));
  }
}

TEST_P(Values, LayerNorm) {
  // Column 0 is 1, 2, 3, 4: mean 2.5, variance 1.25. Column 1 is constant: only eps stands under the root.
  const Storage x = matrix(4, 2, {1, 7, 2, 7, 3, 7, 4, 7}), y = zeros(4, 2), mean = zeros(1, 2), rstd = zeros(1, 2);
  const Storage gamma = matrix(4, 1, {1, 1, 2, 1}), beta = matrix(4, 1, {0, 0, 0, 5});
  backend_->layer_norm(x.tensor, gamma.tensor, beta.tensor, 0.01, y.tensor, mean.tensor, rstd.tensor);
  const double r = 1 / std::sqrt(1.26);
  EXPECT_TRUE(equal(mean, {2.5, 7}, 7));
  EXPECT_TRUE(equal(rstd, {r, 10}, 70));
  EXPECT_TRUE(equal(y, {-1.5 * r, 0, -0.5 * r, 0, r, 0, 1.5 * r + 5, 5}, 70));
}

// A mean that is large beside the deviation is where E[x²] - E[x]² fails.
TEST_P(Values, LayerNormOfALargeMean) {
  std::vector<double> values, expected;
  for (int i = 0; i < 64; ++i) {
    values.push_back(1000 + (i % 2 == 0 ? 0.5 : -0.5));
    expected.push_back(i % 2 == 0 ? 1 : -1);
  }
  const Storage x = matrix(64, 1, values), y = zeros(64, 1), mean = zeros(1, 1), rstd = zeros(1, 1);
  const Storage gamma = matrix(64, 1, std::vector<double>(64, 1.0)), beta = zeros(64, 1);
  backend_->layer_norm(x.tensor, gamma.tensor, beta.tensor, 1e-12, y.tensor, mean.tensor, rstd.tensor);
  for (const double value : values_of(*backend_, y.tensor)) EXPECT_NEAR(std::abs(value), 1, 1e-3);
}

TEST_P(Values, Attention) {
  // Two tokens, one head of one feature, q = 1: the scores are the keys 0 and log 3, the probabilities 1/4 and 3/4.
  const Storage q = matrix(1, 2, {1, 1}), k = matrix(1, 2, {0, std::log(3.0)}), v = matrix(1, 2, {4, 8});
  const Storage context = zeros(1, 2), log_sum_exp = zeros(1, 2), starts = make_indices(*backend_, {0, 2});
  backend_->attention({1, 1}, q.tensor, k.tensor, v.tensor, starts.tensor, {}, context.tensor, log_sum_exp.tensor);
  EXPECT_TRUE(equal(context, {7, 7}, 8));
  EXPECT_TRUE(equal(log_sum_exp, {std::log(4.0), std::log(4.0)}, 2));
}

TEST_P(Values, AttentionScalesByTheRootOfTheHeadDimension) {
  // q·k = 4 log 3 over four features, halved by 1/√4.
  const double key = std::log(3.0) / 2;
  const Storage q = matrix(4, 2, {1, 1, 1, 1, 1, 1, 1, 1}), k = matrix(4, 2, {0, key, 0, key, 0, key, 0, key});
  const Storage v = matrix(4, 2, {4, 8, 0, 4, 4, 0, 0, 0}), context = zeros(4, 2);
  const Storage starts = make_indices(*backend_, {0, 2});
  backend_->attention({1, 4}, q.tensor, k.tensor, v.tensor, starts.tensor, {}, context.tensor, {});
  EXPECT_TRUE(equal(context, {7, 7, 3, 3, 1, 1, 0, 0}, 8));
}

TEST_P(Values, AttentionOfASingleTokenIsItsValue) {
  Scene s(*backend_, 1, 10);
  const Tensor q = s.matrix(6, 3, 3), k = s.matrix(6, 3, 3), v = s.matrix(6, 3), r = s.matrix(6, 3);
  const Tensor starts = s.indices({0, 1, 1, 2, 3}), context = s.output(6, 3), log_sum_exp = s.output(2, 3);
  const Tensor dq = s.output(6, 3), dk = s.output(6, 3), dv = s.output(6, 3);
  backend_->attention({2, 3}, q, k, v, starts, {}, context, log_sum_exp);
  backend_->attention_grad({2, 3}, q, k, v, starts, {}, context, log_sum_exp, r, dq, dk, dv);
  EXPECT_TRUE(all_near(values_of(*backend_, context), values_of(*backend_, v), backend_->real(), 1, 100));
  EXPECT_TRUE(all_near(values_of(*backend_, dv), values_of(*backend_, r), backend_->real(), 1, 100));
  for (const double value : values_of(*backend_, dq)) EXPECT_NEAR(value, 0, 100 * loose());
}

TEST_P(Values, AttentionWithHugeScoresPicksTheLargest) {
  const Storage q = matrix(1, 3, {1e4, -1e4, 1e4}), k = matrix(1, 3, {1, 0, -1}), v = matrix(1, 3, {5, 6, 7});
  const Storage context = zeros(1, 3), log_sum_exp = zeros(1, 3), starts = make_indices(*backend_, {0, 3});
  backend_->attention({1, 1}, q.tensor, k.tensor, v.tensor, starts.tensor, {}, context.tensor, log_sum_exp.tensor);
  EXPECT_TRUE(equal(context, {5, 7, 5}, 7));
  EXPECT_TRUE(equal(log_sum_exp, {1e4, 1e4, 1e4}, 1e4));
  const Storage dq = zeros(1, 3), dk = zeros(1, 3), dv = zeros(1, 3), ones = matrix(1, 3, {1, 1, 1});
  backend_->attention_grad({1, 1}, q.tensor, k.tensor, v.tensor, starts.tensor, {}, context.tensor, log_sum_exp.tensor,
                           ones.tensor, dq.tensor, dk.tensor, dv.tensor);
  EXPECT_TRUE(equal(dv, {2, 0, 1}, 2));
  EXPECT_TRUE(equal(dq, {0, 0, 0}, 10));
}

TEST_P(Values, CrossEntropy) {
  // Probabilities 1/4 and 3/4; the second example is ignored, the third right.
  const Storage logits = matrix(2, 3, {0, 9, std::log(3.0), std::log(3.0), 9, 0}), dlogits = zeros(2, 3);
  const Storage labels = make_indices(*backend_, {0, -100, 0});
  const double loss = backend_->cross_entropy(logits.tensor, labels.tensor, 2.0, dlogits.tensor);
  EXPECT_NEAR(loss, (std::log(4.0) + std::log(4.0 / 3)) / 2, loose());
  EXPECT_TRUE(equal(dlogits, {-0.75, 0, -0.25, 0.75, 0, 0.25}));
}

TEST_P(Values, CrossEntropyWithoutAnyLabelIsZero) {
  const Storage logits = matrix(2, 2, {1, 2, 3, 4}), dlogits = matrix(2, 2, {9, 9, 9, 9});
  const Storage labels = make_indices(*backend_, {-100, -100});
  EXPECT_EQ(backend_->cross_entropy(logits.tensor, labels.tensor, 1, dlogits.tensor), 0);
  EXPECT_TRUE(equal(dlogits, {0, 0, 0, 0}));
}

TEST_P(Values, SpanLossWithoutAnyLabelIsZero) {
  const Storage logits = matrix(2, 3, {1, 2, 3, 4, 5, 6}), dlogits = matrix(2, 3, {9, 9, 9, 9, 9, 9});
  const Storage starts = make_indices(*backend_, {0, 2, 3}), labels = make_indices(*backend_, {-100, 1, 2, -1});
  EXPECT_EQ(backend_->span_cross_entropy(logits.tensor, starts.tensor, labels.tensor, 1, dlogits.tensor), 0);
  EXPECT_TRUE(equal(dlogits, {0, 0, 0, 0, 0, 0}));
}

TEST_P(Values, SpanLoss) {
  // Sequences of two tokens and of one. The start of the first lies on its token of probability 1/4; the second start
  // is sure. The end of the first is outside: the mean over ends is that of the second alone, which is sure too.
  const Storage logits = matrix(2, 3, {0, std::log(3.0), 5, 1, 2, 3}), dlogits = zeros(2, 3);
  const Storage starts = make_indices(*backend_, {0, 2, 3}), labels = make_indices(*backend_, {0, 0, 2, 0});
  const double loss = backend_->span_cross_entropy(logits.tensor, starts.tensor, labels.tensor, 1, dlogits.tensor);
  EXPECT_NEAR(loss, std::log(4.0) / 2 / 2, loose());
  EXPECT_TRUE(equal(dlogits, {-0.75 / 4, 0.75 / 4, 0, 0, 0, 0}));
}

TEST_P(Values, LossesSurviveHugeLogits) {
  const Storage logits = matrix(2, 2, {1e4, -1e4, -1e4, 1e4}), dlogits = zeros(2, 2);
  const Storage labels = make_indices(*backend_, {0, 0}), targets = matrix(2, 2, {1, 1, 0, 0});
  EXPECT_NEAR(backend_->cross_entropy(logits.tensor, labels.tensor, 1, dlogits.tensor), 1e4, 1e-2);
  EXPECT_TRUE(equal(dlogits, {0, -0.5, 0, 0.5}));
  EXPECT_NEAR(backend_->binary_cross_entropy(logits.tensor, targets.tensor, 1, dlogits.tensor), 5e3, 1e-2);
  EXPECT_TRUE(equal(dlogits, {0, -0.25, 0, 0.25}));
}

TEST_P(Values, RegressionAndMultiLabelLosses) {
  const Storage logits = matrix(1, 4, {0, 1, 2, -3}), targets = matrix(1, 4, {1, 1, 0, 1}), dlogits = zeros(1, 4);
  EXPECT_NEAR(backend_->mean_squared_error(logits.tensor, targets.tensor, 1, dlogits.tensor), (1 + 0 + 4 + 16) / 4.0,
              loose());
  EXPECT_TRUE(equal(dlogits, {-0.5, 0, 1, -2}, 4));
  const auto softplus = [](double x) { return std::log(1 + std::exp(x)); };
  EXPECT_NEAR(backend_->binary_cross_entropy(logits.tensor, targets.tensor, 1, dlogits.tensor),
              (softplus(0) + softplus(-1) + softplus(2) + softplus(3)) / 4, loose());
}

TEST_P(Values, SoftenedDivergence) {
  // At temperature 2 the student says 1/4 and 3/4, the teacher 1/2 and 1/2; of the second example both say the same.
  const double third = 2 * std::log(3.0);
  const Storage logits = matrix(2, 2, {0, 5, third, 4}), targets = matrix(2, 2, {7, 1, 7, 0}), dlogits = zeros(2, 2);
  const double loss = backend_->softened_divergence(logits.tensor, targets.tensor, 2, 1, dlogits.tensor);
  EXPECT_NEAR(loss, 4 * 0.5 * (std::log(2.0) + std::log(2.0 / 3)) / 2, loose());
  EXPECT_TRUE(equal(dlogits, {2 * -0.25 / 2, 0, 2 * 0.25 / 2, 0}, 7));
}

TEST_P(Values, CosineDistance) {
  // The same direction, the opposite one, a right angle, and no direction at all.
  const Storage x = matrix(2, 4, {1, 3, 2, 0, 2, 4, 0, 0}), targets = matrix(2, 4, {2, -3, 0, 1, 4, -4, 5, 1});
  const Storage dx = zeros(2, 4);
  EXPECT_NEAR(backend_->cosine_distance(x.tensor, targets.tensor, 4, dx.tensor), (0 + 2 + 1 + 1) / 4.0, loose());
  EXPECT_TRUE(equal(dx, {0, 0, 0, 0, 0, 0, -0.5, 0}));
}

TEST_P(Values, RelationDistance) {
  // One head of one feature: scores are products of two numbers. The teacher has two features, so they shrink by √2.
  const double root = std::sqrt(2.0), third = std::log(3.0);
  const Storage a = matrix(1, 2, {1, 1}), b = matrix(1, 2, {0, third});
  const Storage teacher_a = matrix(2, 2, {1, 1, 1, 1}), teacher_b = matrix(2, 2, {root, root, 0, 0});
  const Storage starts = make_indices(*backend_, {0, 2, 2}), da = zeros(1, 2), db = zeros(1, 2);
  // Scores 0 and log 3 beside 1 and 1; the softmax 1/4 and 3/4 beside 1/2 and 1/2.
  const auto value = [&](Comparison comparison) {
    return backend_->relation_distance(comparison, 1, a.tensor, b.tensor, teacher_a.tensor, teacher_b.tensor,
                                       starts.tensor, 1, da.tensor, db.tensor);
  };
  EXPECT_NEAR(value(Comparison::squares), (1 + (third - 1) * (third - 1)) / 2, 10 * loose());
  EXPECT_TRUE(equal(db, {-1, third - 1}, 10));
  EXPECT_TRUE(equal(da, {(third - 1) * third / 2, (third - 1) * third / 2}, 10));
  backend_->fill(da.tensor, 0), backend_->fill(db.tensor, 0);
  EXPECT_NEAR(value(Comparison::distributions), 0.5 * std::log(4.0 / 3), 10 * loose());
  EXPECT_TRUE(equal(db, {-0.25, 0.25}, 10));
  EXPECT_TRUE(equal(da, {third * 0.25 / 2, third * 0.25 / 2}, 10));
}

TEST_P(Values, EmbeddingAndColumns) {
  const Storage word = matrix(3, 2, {1, 2, 3, 4, 5, 6}), position = matrix(2, 2, {10, 20, 30, 40});
  const Storage type = matrix(2, 2, {0, 0, 100, 200}), x = zeros(2, 3), y = zeros(2, 2);
  const Storage ids = make_indices(*backend_, {2, 0, 1}), types = make_indices(*backend_, {0, 1, 0});
  const Storage starts = make_indices(*backend_, {0, 2, 3}), index = make_indices(*backend_, {2, 0});
  backend_->embed(ids.tensor, types.tensor, starts.tensor, word.tensor, position.tensor, type.tensor, x.tensor);
  EXPECT_TRUE(equal(x, {15, 131, 13, 26, 242, 24}, 242));
  backend_->gather_columns(x.tensor, index.tensor, y.tensor);
  EXPECT_TRUE(equal(y, {13, 15, 24, 26}, 26));
}

INSTANTIATE_TEST_SUITE_P(Backends, Values, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
