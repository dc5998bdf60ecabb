// Schedules, plans and options.
#include <cmath>

#include "fixture.h"

namespace bertx::test {
namespace {

TEST(Schedule, LinearRisesAndFalls) {
  const double expected[] = {0, 0.25, 0.5, 0.75, 1, 5.0 / 6, 4.0 / 6, 3.0 / 6, 2.0 / 6, 1.0 / 6, 0, 0};
  for (std::int64_t step = 0; step < 12; ++step) {
    EXPECT_DOUBLE_EQ(schedule_factor(Schedule::linear, step, 4, 10), expected[step]) << step;
  }
  EXPECT_EQ(schedule_factor(Schedule::linear, 0, 0, 10), 1.0);
}

TEST(Schedule, ConstantOnlyWarmsUp) {
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::constant, 1, 4, 10), 0.25);
  EXPECT_EQ(schedule_factor(Schedule::constant, 4, 4, 10), 1.0);
  EXPECT_EQ(schedule_factor(Schedule::constant, 1000, 4, 10), 1.0);
}

TEST(Schedule, CosineIsHalfAWave) {
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::cosine, 3, 4, 12), 0.75);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::cosine, 4, 4, 12), 1.0);
  EXPECT_NEAR(schedule_factor(Schedule::cosine, 6, 4, 12), 0.5 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(schedule_factor(Schedule::cosine, 8, 4, 12), 0.5, 1e-15);
  EXPECT_NEAR(schedule_factor(Schedule::cosine, 12, 4, 12), 0.0, 1e-15);
}

TEST(Schedule, SawtoothFallsAndJumpsBackUntilTheEnd) {
  // 11 steps in teeth of 4: one of 3, then two whole ones.
  const double expected[] = {1, 0.7, 0.4, 1, 0.775, 0.55, 0.325, 1, 0.775, 0.55, 0.325};
  for (std::int64_t step = 0; step < 11; ++step) {
    EXPECT_NEAR(schedule_factor(Schedule::sawtooth, step, 0, 11, 4, 0.1), expected[step], 1e-15) << step;
  }
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::sawtooth, 1, 2, 11, 4, 0.1), 0.5);  // warm-up goes first
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::sawtooth, 5, 0, 10, 100, 0.0), 0.5);  // one tooth, longer than training
}

TEST(Schedule, Names) {
  for (const Schedule schedule : {Schedule::linear, Schedule::constant, Schedule::cosine, Schedule::sawtooth}) {
    EXPECT_EQ(find_schedule(schedule_name(schedule)), schedule);
  }
  EXPECT_EQ(find_schedule("constant_with_warmup"), Schedule::constant);
  EXPECT_FALSE(find_schedule("polynomial"));
}

TEST(Plan, CountsAsTransformersDoes) {
  TrainOptions options;  // 3 epochs, batch 8
  options.gradient_accumulation_steps = 3;
  options.warmup_ratio = 0.1;
  const TrainPlan plan = plan_training(options, 100);  // 13 batches, 4 full groups and one batch
  EXPECT_EQ(plan.batches_per_epoch, 13);
  EXPECT_EQ(plan.steps_per_epoch, 5);
  EXPECT_EQ(plan.total_steps, 15);
  EXPECT_EQ(plan.warmup_steps, 2);
  EXPECT_EQ(plan.sawtooth_steps, 20);  // 4 epochs
  options.num_train_epochs = 0.5;
  EXPECT_EQ(plan_training(options, 100).total_steps, 3);
  options.max_steps = 7;
  options.warmup_steps = 5;
  EXPECT_EQ(plan_training(options, 100).total_steps, 7);
  EXPECT_EQ(plan_training(options, 100).warmup_steps, 5);
}

TEST(Options, BadOnesAreNamed) {
  const auto refused = [](const char* name, const std::function<void(TrainOptions&)>& change) {
    TrainOptions options;
    change(options);
    const Thrown thrown = thrown_by([&] { check_options(options); });
    EXPECT_EQ(thrown.kind, ErrorKind::usage);
    EXPECT_NAMES(thrown, name);
  };
  EXPECT_NO_THROW(check_options({}));
  for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    refused("learning_rate", [&](TrainOptions& o) { o.learning_rate = bad; });
  }
  refused("per_device_train_batch_size", [](TrainOptions& o) { o.per_device_train_batch_size = 0; });
  refused("per_device_train_batch_size", [](TrainOptions& o) { o.per_device_train_batch_size = INT64_MAX; });
  refused("gradient_accumulation_steps", [](TrainOptions& o) { o.gradient_accumulation_steps = 0; });
  refused("num_train_epochs", [](TrainOptions& o) { o.num_train_epochs = -1; });
  refused("warmup_ratio", [](TrainOptions& o) { o.warmup_ratio = 1.5; });
  refused("sawtooth_epochs", [](TrainOptions& o) { o.sawtooth_epochs = 0; });
  refused("sawtooth_floor", [](TrainOptions& o) { o.sawtooth_floor = 1.1; });
  refused("adam_beta2", [](TrainOptions& o) { o.adam_beta2 = 1; });
  refused("output_dir", [](TrainOptions& o) { o.save_steps = 5; });
  refused("eval_strategy", [](TrainOptions& o) { o.load_best_model_at_end = true; });
}

}  // namespace
}  // namespace bertx::test
