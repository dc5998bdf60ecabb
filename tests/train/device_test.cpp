// A training on the cuda backend takes the steps of the same training on the cpu backend.
#include "cuda.h"
#include "fixture.h"

namespace bertx::test {
namespace {

using DeviceTraining = CudaTest;

std::vector<StepReport> steps_on(Backend& backend, bool checkpointing) {
  const std::vector<EncodedExample> examples = separable_examples(32, 11);
  const TemporaryDirectory directory;
  TrainData data;
  data.train = examples;
  TrainOptions options;
  options.output_dir = directory / "out";
  options.learning_rate = 5e-3;
  options.num_train_epochs = 4;
  options.logging_steps = 0;
  options.gradient_checkpointing = checkpointing;
  Recorder recorder;
  Model model = make_model(backend, small_config(), 1);
  train(backend, model, nullptr, data, options, nullptr, &recorder);
  return recorder.steps;
}

/// Losses and gradient norms, each within `accepted` of the first.
void expect_same_steps(const std::vector<StepReport>& got, const std::vector<StepReport>& want, double accepted) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_EQ(want.size(), 16u);
  const auto mean = [](auto first, auto last) {
    double sum = 0;
    for (auto step = first; step != last; ++step) sum += step->loss;
    return sum / static_cast<double>(last - first);
  };
  EXPECT_LT(mean(want.end() - 4, want.end()), 0.95 * mean(want.begin(), want.begin() + 4)) << "nothing was learned";
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got[i].loss, want[i].loss, accepted * want.front().loss) << "step " << i;
    EXPECT_NEAR(got[i].gradient_norm, want[i].gradient_norm, 10 * accepted * want.front().gradient_norm)
        << "step " << i;
  }
}

TEST_F(DeviceTraining, FollowsTheLossesOfTheCpu) {
  const auto cuda = make_cuda(), reference = make_reference_backend();
  const std::vector<StepReport> want = steps_on(*reference, false), got = steps_on(*cuda, false);
  expect_same_steps(got, want, 1e-3);
  expect_same_steps(steps_on(*cuda, true), got, 0);
}

TEST_F(DeviceTraining, OfBf16ProductsFollowsThoseOfF32) {
  const auto cuda = make_cuda({DType::bf16}), reference = make_reference_backend();
  expect_same_steps(steps_on(*cuda, false), steps_on(*reference, false), 0.05);
}

}  // namespace
}  // namespace bertx::test
