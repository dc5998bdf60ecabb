// A training whose dense products take bf16 inputs follows the one in f32.
#include "fixture.h"

namespace bertx::test {
namespace {

std::vector<double> losses_with(DType products, std::vector<std::string>* changed) {
  const auto backend = make_cpu_backend({products});
  const std::vector<EncodedExample> examples = separable_examples(64, 11);
  const TemporaryDirectory directory;
  TrainData data;
  data.train = examples;
  TrainOptions options;
  options.output_dir = directory / "out";
  options.learning_rate = 5e-3;
  options.num_train_epochs = 6;
  options.warmup_ratio = 0.1;
  options.logging_steps = 8;
  Recorder recorder;
  Model model = make_model(*backend, small_config(), 1);
  const auto before = bytes_of(*backend, model);
  train(*backend, model, nullptr, data, options, nullptr, &recorder);
  for (const auto& [path, bytes] : bytes_of(*backend, model)) {
    if (bytes != before.at(path)) changed->push_back(path);
  }
  std::vector<double> losses;
  for (std::size_t i = 0; i + 1 < recorder.logs.size(); ++i) losses.push_back(figure(recorder.logs[i], "loss"));
  return losses;
}

TEST(Bf16Training, FollowsTheLossesOfF32) {
  std::vector<std::string> changed_f32, changed_bf16;
  const std::vector<double> f32 = losses_with(DType::f32, &changed_f32);
  const std::vector<double> bf16 = losses_with(DType::bf16, &changed_bf16);
  ASSERT_EQ(f32.size(), 6u);
  ASSERT_EQ(bf16.size(), f32.size());
  EXPECT_EQ(changed_bf16, changed_f32);
  EXPECT_LT(f32.back(), 0.5 * f32.front());
  double difference = 0;
  for (std::size_t i = 0; i < f32.size(); ++i) {
    EXPECT_NEAR(bf16[i], f32[i], 0.05 * f32.front()) << "of steps " << 8 * i << " to " << 8 * i + 7;
    difference += std::abs(bf16[i] - f32[i]);
  }
  EXPECT_GT(difference, 1e-6) << "no sign of bf16";
}

}  // namespace
}  // namespace bertx::test
