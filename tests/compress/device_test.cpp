// Every method of compression and every kind of distillation on the cuda backend, whose memory the host cannot read,
// does what it does on the reference backend. New ones are found in the tables and need no line here, but for options
// that the small model is too small for.
#include "cuda.h"
#include "distillation_fixture.h"
#include "train/fixture.h"
#include "training_fixture.h"

namespace bertx::test {
namespace {

using compress::Method;
using compress::Recipe;

constexpr double kAccepted = 1e-3;  // of a loss beside its size, of a logit

Recipe small_recipe(std::string_view method) {
  Recipe recipe{.method = std::string(method)};
  recipe.sparsity = 0.5, recipe.remainder_sparsity = 0.5;
  recipe.mask_interval = 2, recipe.rounds = 2, recipe.recomputations = 2, recipe.fisher_gradients = 16;
  recipe.damp = 1e-4;  // f32 and f64 then agree on the inverse of a Fisher matrix, which 16 gradients leave singular
  recipe.block_height = 8, recipe.block_width = 8;
  recipe.drop = 1, recipe.rank = 5, recipe.tucker_rank = 12, recipe.tucker_cores = 8;
  recipe.calibration_samples = 16, recipe.calibration_batch = 8;
  return recipe;
}

struct Outcome {
  std::vector<double> losses;  ///< of the steps
  std::vector<double> logits;  ///< of what came out
  std::int64_t parameters = 0, nonzeros = 0;
};

/// The largest difference of two runs: of losses beside their size (penalties of movement grow large), and of logits.
double difference(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.losses.size(), b.losses.size());
  EXPECT_EQ(a.logits.size(), b.logits.size());
  double largest = 0;
  for (std::size_t i = 0; i < std::min(a.losses.size(), b.losses.size()); ++i) {
    largest = std::max(largest, std::abs(a.losses[i] - b.losses[i]) / std::max(b.losses[0], b.losses[i]));
  }
  for (std::size_t i = 0; i < std::min(a.logits.size(), b.logits.size()); ++i) {
    largest = std::max(largest, std::abs(a.logits[i] - b.logits[i]));
  }
  return largest;
}

Outcome outcome_of(Backend& backend, Model& model) {
  const compress::Report report = compress::report(backend, model);
  return {{}, logits_of(backend, model, tiny_batch(model, 9)), report.parameters, report.encoder_nonzeros};
}

/// A training of eight steps, under a recipe or towards a teacher.
Outcome trained_on(Backend& backend, const Recipe* recipe, const std::string& distillation = "",
                   std::uint64_t seed = 1) {
  const std::vector<EncodedExample> examples = separable_examples(32, 11);
  TrainData data;
  data.train = examples;
  TrainOptions options;
  options.learning_rate = 2e-3;
  options.num_train_epochs = 2;
  options.logging_steps = 0;
  std::unique_ptr<TrainHook> hook;
  if (recipe != nullptr) hook = compress::make_compressor(*recipe, {examples, LabelKind::single_label});
  std::unique_ptr<Objective> objective;
  if (!distillation.empty()) {
    Config deep = make_config(4, distillation == "pkd" || distillation == "distilbert" ? 16 : 24, 2, 32, 40, 16);
    const Config like = small_config();
    deep.head = like.head, deep.problem = like.problem, deep.labels = like.labels, deep.initializer_range = 0.15f;
    compress::Distillation how;
    how.kind = distillation;
    objective = compress::make_distillation(backend, make_model(backend, deep, 77), "teacher", how);
  }
  Recorder recorder;
  Model model = make_model(backend, small_config(), seed);
  train(backend, model, nullptr, data, options, hook.get(), &recorder, objective.get());
  Outcome outcome = outcome_of(backend, model);
  for (const StepReport& step : recorder.steps) outcome.losses.push_back(step.loss);
  EXPECT_EQ(outcome.losses.size(), 8u);
  return outcome;
}

Outcome compressed_on(Backend& backend, const Recipe& recipe) {
  const std::vector<EncodedExample> examples = separable_examples(32, 11);
  Model model = make_model(backend, small_config(), 1);
  compress::compress_now(backend, model, recipe, {examples, LabelKind::single_label});
  return outcome_of(backend, model);
}

void expect_same(const Outcome& got, const Outcome& want) {
  EXPECT_LT(difference(got, want), kAccepted);
  EXPECT_EQ(got.parameters, want.parameters);
  EXPECT_EQ(got.nonzeros, want.nonzeros);
  EXPECT_TRUE(trusted(got.logits));
}

std::vector<std::string> names_of_methods(bool at_once) {
  std::vector<std::string> names;
  for (const Method& method : compress::methods()) {
    if (method.training != (at_once ? compress::Training::always : compress::Training::never)) {
      names.emplace_back(method.name);
    }
  }
  return names;
}

class DeviceCompression : public CudaTest, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!IsSkipped()) cuda = make_cuda();
  }
  std::unique_ptr<Backend> cuda, reference = make_reference_backend();
};

using DeviceTraining = DeviceCompression;
using DeviceDistillation = DeviceCompression;

TEST_P(DeviceCompression, AtOnceGivesTheModelOfTheReference) {
  const Recipe recipe = small_recipe(GetParam());
  expect_same(compressed_on(*cuda, recipe), compressed_on(*reference, recipe));
}

TEST_P(DeviceTraining, FollowsTheLossesOfTheReference) {
  const Recipe recipe = small_recipe(GetParam());
  expect_same(trained_on(*cuda, &recipe), trained_on(*reference, &recipe));
}

TEST_P(DeviceDistillation, FollowsTheLossesOfTheReference) {
  expect_same(trained_on(*cuda, nullptr, GetParam()), trained_on(*reference, nullptr, GetParam()));
}

const auto kName = [](const auto& test) { return test.param; };
INSTANTIATE_TEST_SUITE_P(Methods, DeviceCompression, testing::ValuesIn(names_of_methods(true)), kName);
INSTANTIATE_TEST_SUITE_P(Methods, DeviceTraining, testing::ValuesIn(names_of_methods(false)), kName);
INSTANTIATE_TEST_SUITE_P(Kinds, DeviceDistillation, testing::ValuesIn(distillation_names()), kName);

// What the comparison would miss: another start, another method.
TEST(DeviceComparison, NoticesAnotherRun) {
  const auto backend = make_reference_backend();
  const Recipe magnitude = small_recipe("magnitude"), movement = small_recipe("movement");
  const Outcome one = trained_on(*backend, &magnitude);
  EXPECT_EQ(difference(one, trained_on(*backend, &magnitude)), 0);
  EXPECT_GT(difference(one, trained_on(*backend, &movement)), 5 * kAccepted);
  EXPECT_GT(difference(one, trained_on(*backend, &magnitude, "", 2)), 5 * kAccepted);
}

}  // namespace
}  // namespace bertx::test
