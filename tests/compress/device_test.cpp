// Methods on the cuda backend: the same trainings as on the reference backend, in memory that the host cannot read.
#include "../train/fixture.h"
#include "bertx/compress.h"
#include "cuda.h"

namespace bertx::compress {
namespace {

struct Outcome {
  std::vector<double> losses;
  double sparsity = 0;
};

Outcome trained_on(Backend& backend, const Recipe& recipe) {
  const std::vector<EncodedExample> examples = test::separable_examples(32, 11);
  const test::TemporaryDirectory directory;
  TrainData data;
  data.train = examples;
  TrainOptions options;
  options.output_dir = directory / "out";
  options.learning_rate = 5e-3;
  options.num_train_epochs = 2;
  options.logging_steps = 0;
  test::Recorder recorder;
  Model model = make_model(backend, test::small_config(), 1);
  const auto hook = make_compressor(recipe, {examples, LabelKind::single_label});
  train(backend, model, nullptr, data, options, hook.get(), &recorder);
  Outcome out;
  for (const StepReport& step : recorder.steps) out.losses.push_back(step.loss);
  out.sparsity = report(backend, model).sparsity();
  return out;
}

class DeviceMethods : public test::CudaTest {
 protected:
  // The first steps agree closely; later ones as far as choices among nearly equal weights allow.
  static void expect_same(const Recipe& recipe) {
    const auto cuda = test::make_cuda(), reference = make_reference_backend();
    const Outcome got = trained_on(*cuda, recipe), want = trained_on(*reference, recipe);
    ASSERT_EQ(got.losses.size(), want.losses.size());
    ASSERT_GE(want.losses.size(), 8u);
    EXPECT_NEAR(got.sparsity, want.sparsity, 0.01);
    for (std::size_t i = 0; i < want.losses.size(); ++i) {
      const double accepted = i < 2 ? 1e-3 : 0.1;
      EXPECT_NEAR(got.losses[i], want.losses[i], accepted * want.losses.front()) << "step " << i;
    }
  }
  static Recipe recipe_of(const char* method) {
    Recipe recipe;
    recipe.method = method;
    recipe.sparsity = 0.5;
    recipe.mask_interval = 2;
    recipe.calibration_samples = 16;
    recipe.fisher_gradients = 8;
    return recipe;
  }
};

TEST_F(DeviceMethods, Magnitude) { expect_same(recipe_of("magnitude")); }
TEST_F(DeviceMethods, Movement) { expect_same(recipe_of("movement")); }
TEST_F(DeviceMethods, SoftMovement) { expect_same(recipe_of("soft_movement")); }
TEST_F(DeviceMethods, Wanda) { expect_same(recipe_of("wanda")); }
TEST_F(DeviceMethods, SparseGpt) { expect_same(recipe_of("sparsegpt")); }
TEST_F(DeviceMethods, Obert) { expect_same(recipe_of("obert")); }
TEST_F(DeviceMethods, Heads) { expect_same(recipe_of("heads")); }
TEST_F(DeviceMethods, Share) { expect_same(recipe_of("share")); }
TEST_F(DeviceMethods, Tucker) { expect_same(recipe_of("tucker")); }

}  // namespace
}  // namespace bertx::compress
