// What training and inference take: the plan against a training that ran, an arena that does not grow, batches without
// padding.
#include "backend/counting.h"
#include "fixture.h"
#include "train/update_step.h"

namespace bertx::test {
namespace {

struct Held {
  std::size_t gradients = 0, moments = 0, peak = 0;
  std::vector<std::size_t> reserved;
};

/// Every update of a training, as the trainer takes them.
Held train_through(Backend& backend, Model& model, const std::vector<EncodedExample>& examples,
                   const TrainOptions& options, TrainHook* hook, std::size_t reserve) {
  const Sampler sampler(static_cast<std::int64_t>(examples.size()), options.seed);
  const TrainPlan plan = plan_training(options, sampler.count());
  UpdateStep step(backend, model, options);
  if (reserve > 0) step.reserve(reserve);
  Held held;
  TrainState state;
  state.learning_rate = 1e-3;
  for (; state.step < plan.total_steps; ++state.step) {
    const std::vector<std::int64_t> order = sampler.epoch(state.step / plan.steps_per_epoch);
    const std::int64_t accumulate = options.gradient_accumulation_steps, size = options.per_device_train_batch_size;
    const std::int64_t first = state.step % plan.steps_per_epoch * accumulate;
    const auto batch = [&](std::int64_t micro) {
      const std::size_t begin = static_cast<std::size_t>((first + micro) * size);
      return collate(examples,
                     std::span(order).subspan(begin, std::min(static_cast<std::size_t>(size), order.size() - begin)),
                     LabelKind::single_label, 2);
    };
    step.run(state, std::min(accumulate, plan.batches_per_epoch - first), batch, hook);
    held.reserved.push_back(step.arena().reserved_bytes());
  }
  model.visit([&](const std::string&, Parameter& p) { held.gradients += p.grad.buffer.bytes; });
  for (const Optimizer::Entry& entry : step.optimizer().entries()) {
    held.moments += entry.first_moment.buffer.bytes + entry.second_moment.buffer.bytes;
  }
  held.peak = step.arena().peak_bytes();
  return held;
}

/// Texts of 4 to 40 tokens.
std::vector<EncodedExample> ragged_examples(std::int64_t count, std::uint64_t seed) {
  RandomSource random(seed);
  std::vector<EncodedExample> examples = separable_examples(count, seed);
  for (EncodedExample& example : examples) {
    example.ids.resize(static_cast<std::size_t>(random.integer(4, 40)), 7);
    example.types.assign(example.ids.size(), 0);
  }
  return examples;
}

Config long_config() {
  Config config = small_config();
  config.positions = 64;
  return config;
}

class MemoryPlan : public testing::TestWithParam<std::tuple<std::string, bool, bool>> {};

TEST_P(MemoryPlan, IsWhatTrainingTakes) {
  const auto& [name, checkpointing, masked] = GetParam();
  auto backend = make_backend(name);
  Model model = make_model(*backend, long_config(), 1);
  const std::vector<EncodedExample> examples = ragged_examples(37, 3);
  TrainOptions options;
  options.gradient_checkpointing = checkpointing;
  options.freeze_embeddings = masked;
  options.per_device_train_batch_size = 4;
  options.gradient_accumulation_steps = 2;
  options.num_train_epochs = 2.5;
  MaskingHook hook;
  prepare_for_training(*backend, model, options, masked ? &hook : nullptr, {});
  const std::map<std::string, std::string> before = bytes_of(*backend, model);
  const TrainMemory plan = plan_memory(*backend, model, examples, LabelKind::single_label, options);
  EXPECT_TRUE(same_bytes(before, bytes_of(*backend, model))) << "planning changed the model";

  const Held held = train_through(*backend, model, examples, options, masked ? &hook : nullptr, plan.activations);
  EXPECT_EQ(plan.activations, held.peak);
  EXPECT_EQ(plan.gradients, held.gradients);
  EXPECT_EQ(plan.moments, held.moments);
  EXPECT_GT(plan.weights, plan.gradients / 2);
  for (const std::size_t reserved : held.reserved) EXPECT_EQ(reserved, plan.activations) << "the arena grew";

  options.per_device_train_batch_size = 3;  // another plan would be noticed
  EXPECT_NE(plan_memory(*backend, model, examples, LabelKind::single_label, options).activations, held.peak);
}

INSTANTIATE_TEST_SUITE_P(Kinds, MemoryPlan,
                         testing::Combine(testing::Values("reference", "cpu"), testing::Bool(), testing::Bool()),
                         [](const auto& test) {
                           return std::get<0>(test.param) + (std::get<1>(test.param) ? "_checkpointing" : "_keeping") +
                                  (std::get<2>(test.param) ? "_masked" : "_dense");
                         });

// The plan runs on a backend that lays out no weight; the training that follows must get its layout, and the plan
// must have counted it.
TEST(SparsePlan, CountsTheLayoutOfSparseWeights) {
  auto backend = make_cpu_backend();
  Model model = make_model(*backend, long_config(), 1);
  model.visit_linears([&](const std::string&, Linear& linear) {
    const auto& dense = dynamic_cast<const DenseWeight&>(*linear.weight);
    linear.weight = CsrWeight::from_dense(*backend, dense.parameter()->tensor());
  });
  model.refresh(*backend);
  TrainOptions options;
  const TrainMemory plan = plan_memory(*backend, model, ragged_examples(9, 3), LabelKind::single_label, options);
  std::size_t layouts = 0, values = 0;
  model.visit_linears([&](const std::string&, Linear& linear) {
    const auto& weight = dynamic_cast<const CsrWeight&>(*linear.weight);
    ASSERT_NE(weight.pattern().prepared, nullptr);
    layouts += weight.pattern().prepared->bytes();
    values += static_cast<std::size_t>(weight.pattern().nnz) * sizeof(float);
  });
  EXPECT_GT(plan.weights, layouts + values);
  EXPECT_GT(layouts, 3 * values);
}

TEST(EmbeddingPlan, CountsBothFactorsOfTheWordEmbeddings) {
  for (const char* name : {"reference", "cpu"}) {
    auto backend = make_backend(name);
    Model whole = make_model(*backend, long_config(), 1), model = make_model(*backend, long_config(), 1);
    factor_embeddings(*backend, model, 5);
    const std::vector<EncodedExample> examples = ragged_examples(9, 3);
    TrainOptions options;
    const auto plan_of = [&](Model& m) { return plan_memory(*backend, m, examples, LabelKind::single_label, options); };
    const TrainMemory plan = plan_of(model);
    const std::size_t saved = (40 * 16 - 5 * (40 + 16)) * size_of(backend->real());
    EXPECT_EQ(plan.weights + saved, plan_of(whole).weights);
    EXPECT_EQ(plan.moments + 2 * saved, plan_of(whole).moments);
    const Held held = train_through(*backend, model, examples, options, nullptr, plan.activations);
    EXPECT_EQ(plan.activations, held.peak);
    EXPECT_EQ(plan.gradients, held.gradients);
    EXPECT_EQ(plan.moments, held.moments);
  }
}

TEST(TrainingArena, DoesNotGrowAfterTheLongestBatch) {
  auto backend = make_cpu_backend();
  Model model = make_model(*backend, long_config(), 1);
  TrainOptions options;
  options.per_device_train_batch_size = 4;
  options.num_train_epochs = 12;
  const Held held = train_through(*backend, model, ragged_examples(37, 3), options, nullptr, 0);
  // Growing by itself it ends with a ninth to spare at most, and stays so.
  for (std::size_t s = held.reserved.size() / 2; s < held.reserved.size(); ++s) {
    EXPECT_EQ(held.reserved[s], held.reserved.back());
  }
  EXPECT_LE(held.reserved.back(), std::max(held.peak + held.peak / 8, std::size_t{1} << 20));
}

// ---- inference ------------------------------------------------------------------------------------------------------

TEST(InferenceArena, HoldsLittleMoreThanTheLargestSetOfActivations) {
  auto backend = make_cpu_backend();
  Config config = make_config(6, 128, 4, 512, 50, 256);
  config.head = HeadKind::sequence_classification;
  config.labels = {"a", "b"};
  const Model model = make_model(*backend, config, 1);
  Arena arena(*backend);
  RandomSource random(3);
  std::size_t most = 0;
  for (const std::int64_t count : {1, 2, 9, 4, 12, 6, 12, 3}) {  // grows, shrinks, grows again
    Batch batch;
    batch.starts = {0};
    for (std::int64_t b = 0; b < count; ++b) {
      const std::int64_t length = count == 12 ? 200 : random.integer(20, 200);
      for (std::int64_t t = 0; t < length; ++t) batch.ids.push_back(static_cast<std::int32_t>(random.integer(0, 49)));
      batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
    }
    batch.types.assign(batch.ids.size(), 0);
    Exec exec{*backend, arena};
    model.forward(exec, batch);
    // At the feed-forward product: a layer's input and output, q, k, v, context, the sum, and the wide one.
    const std::size_t hidden = 128 * static_cast<std::size_t>(row_stride(batch.tokens(), DType::f32)) * 4;
    most = std::max(most, (2 + 4 + 1 + 4) * hidden);
    EXPECT_LE(arena.peak_bytes(), most + most / 20);
    // The pass that is the first of its size takes what is missing in further pieces; then they are joined.
    EXPECT_LE(arena.reserved_bytes(), std::max(most + most / 2, std::size_t{2} << 20)) << count;
    arena.reset();
    EXPECT_LE(arena.reserved_bytes(), std::max(most + most / 5, std::size_t{1} << 20)) << count;
  }
}

// ---- ragged batches -------------------------------------------------------------------------------------------------

struct CountedProducts : CountingBackend {
  using CountingBackend::CountingBackend;
  std::int64_t multiplies = 0, attended = 0;
  void gemm(Trans trans_a, Trans, Tensor a, Tensor, Tensor c, Write) override {
    multiplies += c.rows * c.cols * (trans_a == Trans::yes ? a.rows : a.cols);
  }
  void attention(AttentionShape, Tensor q, Tensor, Tensor, Tensor, Dropout, Tensor, Tensor) override {
    attended += q.cols;
  }
};

TEST(RaggedTraining, CostsTheSumOfTrueLengths) {
  auto cpu = make_cpu_backend();
  const auto cost_of = [&](std::span<const EncodedExample> examples) {
    Model model = make_model(*cpu, long_config(), 1);
    CountedProducts backend(*cpu);
    UpdateStep step(backend, model, {});
    std::vector<std::int64_t> all(examples.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    step.accumulate(collate(examples, all, LabelKind::single_label, 2), 0, 0, 1);
    return std::pair(backend.multiplies, backend.attended);
  };
  std::vector<EncodedExample> examples = ragged_examples(9, 4);
  const auto together = cost_of(examples);
  std::pair<std::int64_t, std::int64_t> apart{0, 0};
  std::int64_t tokens = 0;
  for (const EncodedExample& example : examples) {
    const auto one = cost_of({&example, 1});
    apart.first += one.first;
    apart.second += one.second;
    tokens += static_cast<std::int64_t>(example.ids.size());
  }
  EXPECT_EQ(together, apart);
  EXPECT_EQ(together.second, 2 * tokens);
  EXPECT_GT(together.first, 0);
  std::sort(examples.begin(), examples.end(), [](const auto& a, const auto& b) { return a.ids.size() < b.ids.size(); });
  EXPECT_EQ(cost_of(examples), together);
  for (EncodedExample& example : examples) {  // padded to the longest they would cost more
    example.ids.resize(examples.back().ids.size(), 7);
    example.types.resize(examples.back().ids.size(), 0);
  }
  EXPECT_GT(cost_of(examples).first, together.first * 5 / 4);
}

}  // namespace
}  // namespace bertx::test
