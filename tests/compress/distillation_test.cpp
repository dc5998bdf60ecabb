// Every kind of distillation: the exact gradient of its answers, central differences through whole models, and what
// must not change it: micro-batches, gradient checkpointing, a student that is its own teacher.
#include "distillation/response.h"
#include "distillation_fixture.h"

namespace bertx::test {
namespace {

using compress::Distillation;

// ---- answers -------------------------------------------------------------------------------------------------------

std::vector<double> softmax(const std::vector<double>& logits, double temperature) {
  double sum = 0;
  std::vector<double> out;
  for (const double z : logits) out.push_back(std::exp(z / temperature)), sum += out.back();
  for (double& p : out) p /= sum;
  return out;
}

struct Answers {
  std::vector<double> student;
  std::vector<float> teacher;
  double loss = 0;
  std::vector<double> gradient;
};
/// [3, 2], one column a text.
Answers answered(ProblemKind problem, double temperature) {
  const auto backend = make_reference_backend();
  RandomSource random(1);
  Answers a{random.normals(6, 2), {}, 0, {}};
  for (int i = 0; i < 6; ++i) a.teacher.push_back(static_cast<float>(2 * random.normal()));
  Arena arena(*backend);
  Exec exec{*backend, arena};
  const Storage logits = make_matrix(*backend, 3, 2, a.student), dlogits = make_storage(*backend, 3, 2, DType::f64);
  std::vector<float> answers = a.teacher;
  a.loss = compress::response_loss(exec, problem, logits.tensor, answers, temperature, 1, dlogits.tensor);
  a.gradient = values_of(*backend, dlogits.tensor);
  return a;
}

TEST(ResponseLoss, ItsGradientIsTheDifferenceOfProbabilitiesTimesTemperatureOverBatch) {
  for (const double temperature : {1.0, 2.0, 5.0}) {
    const Answers a = answered(ProblemKind::single_label, temperature);
    double divergence = 0;
    for (std::size_t b = 0; b < 2; ++b) {
      const std::vector<double> p = softmax({a.student[b], a.student[2 + b], a.student[4 + b]}, temperature),
                                q = softmax({a.teacher[b], a.teacher[2 + b], a.teacher[4 + b]}, temperature);
      for (std::size_t c = 0; c < 3; ++c) {
        EXPECT_NEAR(a.gradient[2 * c + b], (p[c] - q[c]) * temperature / 2, 1e-14);
        divergence += q[c] * std::log(q[c] / p[c]) / 2;
      }
    }
    EXPECT_NEAR(a.loss, temperature * temperature * divergence, 1e-13);
    // The trap: without T² the loss, and so the teacher's weight, would fall with the temperature.
    EXPECT_EQ(std::abs(a.loss - divergence) > 0.1, temperature > 1);
  }
}

TEST(ResponseLoss, ComparesNumbersBySquaresAndLabelsByTheirOwnProbabilities) {
  const Answers squares = answered(ProblemKind::regression, 1), sigmoid = answered(ProblemKind::multi_label, 1);
  double mse = 0, divergence = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    const double difference = squares.student[i] - squares.teacher[i];
    mse += difference * difference / 6;
    EXPECT_NEAR(squares.gradient[i], difference / 3, 1e-14);
    const double p = 1 / (1 + std::exp(-sigmoid.student[i])), q = 1 / (1 + std::exp(-sigmoid.teacher[i]));
    divergence += (q * std::log(q / p) + (1 - q) * std::log((1 - q) / (1 - p))) / 6;
    EXPECT_NEAR(sigmoid.gradient[i], (p - q) / 6, 1e-7);  // answers are floats
  }
  EXPECT_NEAR(squares.loss, mse, 1e-13);
  EXPECT_NEAR(sigmoid.loss, divergence, 1e-6);
}

// ---- whole models
// ----------------------------------------------------------------------------------------------------

/// Of every parameter, those of the objective too; the first disagreement, or success.
testing::AssertionResult gradients_agree(Lesson& lesson, double planted = 0) {
  const Batch batch = lesson.batch();
  lesson.zero_gradients();
  lesson.run(batch);
  std::map<const Parameter*, Storage> gradients;  // copies: each further run adds to the model's own
  lesson.visit([&](const std::string&, Parameter& p) {
    Storage& copy = gradients[&p];
    copy = make_storage(lesson.backend, p.tensor().rows, p.tensor().cols, DType::f64);
    lesson.backend.copy(p.gradient(), copy.tensor);
    if (copy.tensor.size() > 0) copy.tensor.as<double>()[0] += planted;
  });
  testing::AssertionResult verdict = testing::AssertionSuccess();
  lesson.visit([&](const std::string& path, Parameter& p) {
    if (!verdict || p.tensor().size() == 0 || path.ends_with(".scores")) return;
    const auto function = [&] {
      lesson.student.refresh(lesson.backend);
      return lesson.run(batch);
    };
    const GradientCheck check{.step = 1e-5, .accepted = 3e-7, .least_nonzero = 0.0, .most_elements = 3};
    if (auto result = gradient_agrees(function, p.tensor(), gradients.at(&p).tensor, check); !result) {
      verdict = testing::AssertionFailure() << path << ": " << result.message();
    }
    lesson.student.refresh(lesson.backend);
  });
  return verdict;
}

struct Case {
  std::string kind, representation;
  TinyHead head = tiny_heads().front();
};
void PrintTo(const Case& of, std::ostream* out) { *out << of.kind << ' ' << of.representation << ' ' << of.head.name; }
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& kind : distillation_names()) all.push_back({kind, ""});
  for (const char* representation : {"masked", "low_rank", "csr", "shared"})
    all.push_back({"tinybert", representation});
  all.push_back({"minilm", "masked"});
  all.push_back({"pkd", "low_rank"});
  all.push_back({"distilbert", "few_neurons"});
  all.push_back({"tinybert", "", tiny_heads()[1]});
  all.push_back({"response", "", tiny_heads()[2]});
  return all;
}

class DistillationGradient : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Backend> backend = make_reference_backend();
  Lesson lesson = tiny_lesson(*backend, GetParam().kind, GetParam().representation, GetParam().head);
};

TEST_P(DistillationGradient, AgreesWithCentralDifferences) { EXPECT_TRUE(gradients_agree(lesson)); }
TEST_P(DistillationGradient, APlantedErrorIsNoticed) { EXPECT_FALSE(gradients_agree(lesson, 1e-3)); }

INSTANTIATE_TEST_SUITE_P(Kinds, DistillationGradient, testing::ValuesIn(cases()), [](const auto& test) {
  const Case& of = test.param;
  return of.kind + (of.representation.empty() ? "" : "_" + of.representation) +
         (of.head.name == "classification" ? "" : "_" + of.head.name);
});

// ---- what changes nothing
// ---------------------------------------------------------------------------------------------

class EveryKind : public testing::TestWithParam<std::string> {};

TEST_P(EveryKind, HasItsPartsInTheLogAndInTheLoss) {
  const auto backend = make_reference_backend();
  Lesson lesson = tiny_lesson(*backend, GetParam());
  lesson.zero_gradients();
  const double loss = lesson.run(lesson.batch());
  std::map<std::string, double> parts;
  for (const auto& [name, value] : lesson.objective->take_figures()) parts[name] = value;
  const double hidden = GetParam() == "pkd" ? 100 : 1;
  EXPECT_NEAR(loss,
              0.3 * parts.at("loss_labels") + 0.7 * parts.at("loss_teacher") + hidden * parts["loss_hidden"] +
                  parts["loss_attention"],
              1e-12 * (1 + loss));
  const auto& kind = compress::find_distillation(GetParam());
  EXPECT_EQ(parts["loss_hidden"] > 1e-3, kind.takes("hidden_weight"));
  EXPECT_EQ(parts["loss_attention"] > 1e-3, kind.takes("attention_weight"));
}

TEST_P(EveryKind, GradientCheckpointingGivesTheSameBits) {
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = make_backend(name);
    Lesson lesson = tiny_lesson(*backend, GetParam());
    lesson.zero_gradients();
    const double kept = lesson.run(lesson.batch());
    const std::vector<double> gradients = lesson.gradients();
    EXPECT_TRUE(trusted(gradients));
    lesson.recompute = true;
    lesson.zero_gradients();
    EXPECT_EQ(kept, lesson.run(lesson.batch()));
    EXPECT_EQ(gradients, lesson.gradients());
  }
}

TEST_P(EveryKind, MicroBatchesOfTextsOfOneLengthAddUpToTheWhole) {
  const auto backend = make_reference_backend();
  Lesson lesson = tiny_lesson(*backend, GetParam(), "", tiny_heads().front(), 6);
  lesson.dropout = false;  // its masks depend on the place in the batch
  lesson.zero_gradients();
  const double whole = lesson.run(lesson.batch());
  const std::vector<double> expected = lesson.gradients();
  lesson.zero_gradients();
  const double parts = lesson.run(lesson.batch({0, 1}), 0.5) / 2 + lesson.run(lesson.batch({2, 3}), 0.5) / 2;
  const std::vector<double> found = lesson.gradients();
  EXPECT_NEAR(whole, parts, 1e-12 * (1 + whole));
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], found[i], 1e-11);
  EXPECT_TRUE(trusted(expected));
}

TEST_P(EveryKind, AStudentThatIsItsOwnTeacherHasNothingToLearn) {
  for (const TinyHead& head : {tiny_heads()[0], tiny_heads()[1], tiny_heads()[2]}) {
    const auto backend = make_reference_backend();
    const auto model = [&] {
      Model same = make_model(*backend, tiny_config(head), 3);
      randomise_vectors(*backend, same, 4);
      return same;
    };
    Distillation how;
    how.kind = GetParam();
    how.hard_weight = 0;
    Lesson lesson(*backend, model(), model(), how);
    lesson.dropout = false;
    lesson.zero_gradients();
    EXPECT_NEAR(lesson.run(lesson.batch()), 0, 1e-6);  // answers are kept as floats
    for (const double g : lesson.gradients()) ASSERT_NEAR(g, 0, 1e-5);
    lesson.dropout = true;
    EXPECT_GT(lesson.run(lesson.batch()), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind, testing::ValuesIn(distillation_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace bertx::test
