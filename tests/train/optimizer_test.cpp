// AdamW over a model's parameters against a scalar one; clipping; accumulation; the golden trajectory.
#include "train/optimizer.h"

#include <cmath>

#include "bertx/safetensors.h"
#include "fixture.h"
#include "train/update_step.h"

namespace bertx::test {
namespace {

TEST(Clip, AsTorch) {
  EXPECT_EQ(clip_coefficient(0.5, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_coefficient(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(clip_coefficient(4.0, 0.0), 1.0);
}

/// Decoupled weight decay, one number at a time.
struct ScalarAdamW {
  double value, first = 0, second = 0;
  void update(double g, double rate, double decay, std::int64_t step, const TrainOptions& o) {
    value -= rate * decay * value;
    first = o.adam_beta1 * first + (1 - o.adam_beta1) * g;
    second = o.adam_beta2 * second + (1 - o.adam_beta2) * g * g;
    const double n = static_cast<double>(step);
    const double m = o.adam_bias_correction ? first / (1 - std::pow(o.adam_beta1, n)) : first;
    const double v = o.adam_bias_correction ? second / (1 - std::pow(o.adam_beta2, n)) : second;
    value -= rate * m / (std::sqrt(v) + o.adam_epsilon);
  }
};

TEST(Optimizer, EveryParameterMovesAsAScalarOne) {
  for (const bool bias_correction : {true, false}) {
    auto backend = make_reference_backend();
    Model model = make_model(*backend, small_config(), 1);
    TrainOptions options;
    options.weight_decay = 0.1;
    options.adam_bias_correction = bias_correction;
    options.max_grad_norm = 2.0;
    model.embeddings.word->frozen = true;
    model.embeddings.position->learning_rate_factor = 0.5;
    std::map<std::string, ScalarAdamW> expected;
    std::map<std::string, Parameter*> parameters;
    model.visit([&](const std::string& path, Parameter& p) {
      parameters[path] = &p;
      expected[path] = {p.tensor().as<double>()[1]};
    });
    Optimizer optimizer(*backend, model, options);
    EXPECT_EQ(optimizer.entries().size(), parameters.size() - 1);
    RandomSource random(3);
    for (std::int64_t step = 1; step <= 5; ++step) {
      double squares = 0;
      std::map<std::string, double> gradients;
      for (auto& [path, p] : parameters) {
        if (p->frozen) continue;
        gradients[path] = p->gradient().as<double>()[1] = random.normal();
        squares += gradients[path] * gradients[path];
      }
      const double norm = optimizer.gradient_norm();
      EXPECT_NEAR(norm, std::sqrt(squares), 1e-12 * norm);
      ASSERT_GT(norm, 2.0) << "nothing is clipped";
      optimizer.update(0.01, step, norm);
      for (auto& [path, scalar] : expected) {
        Parameter& p = *parameters[path];
        if (!p.frozen) {
          scalar.update(gradients[path] * clip_coefficient(norm, 2.0), 0.01 * p.learning_rate_factor,
                        p.decay ? 0.1 : 0.0, step, options);
        }
        EXPECT_NEAR(p.tensor().as<double>()[1], scalar.value, 1e-12) << path << " step " << step;
      }
    }
  }
}

/// Ids 0 to 9 in the first steps, others later; the gradients of 16 x 40 numbers of the word embeddings.
std::vector<std::int32_t> ids_of_step(std::int64_t step) {
  return step <= 2 ? std::vector<std::int32_t>{3, 4, 5, 9} : std::vector<std::int32_t>{5, 5, 30, 31, 39};
}

TEST(Optimizer, LeavingOutRowsWithoutGradientChangesNoBit) {
  for (const double decay : {0.0, 0.1}) {
    for (const char* name : {"reference", "cpu"}) {
      auto backend = make_backend(name);
      TrainOptions options;
      options.weight_decay = decay;
      Model whole_model = make_model(*backend, small_config(), 1), rows_model = make_model(*backend, small_config(), 1);
      Optimizer whole(*backend, whole_model, options), rows(*backend, rows_model, options);
      RandomSource random(3);
      const Tensor value = rows_model.embeddings.word->tensor();
      const std::vector<double> start = values_of(*backend, value);
      for (std::int64_t step = 1; step <= 5; ++step) {
        for (const std::int32_t id : ids_of_step(step)) {
          std::vector<double> row = random.normals(16);
          for (Model* model : {&whole_model, &rows_model}) {
            backend->upload(view(row.data(), 1, 16, DType::f64), model->embeddings.word->gradient().row_range(id, 1));
          }
        }
        rows.use_word_rows(ids_of_step(step));
        const double norm = whole.gradient_norm();
        EXPECT_NEAR(rows.gradient_norm(), norm, tolerance(backend->real(), 16, norm));
        whole.update(0.01, step, norm);
        rows.update(0.01, step, norm);
        EXPECT_TRUE(same_bytes(bytes_of(*backend, whole_model), bytes_of(*backend, rows_model))) << "step " << step;
        for (const double g : values_of(*backend, rows_model.embeddings.word->gradient())) ASSERT_EQ(g, 0.0);
        if (step == 3) rows.moments_were_loaded();  // what it finds is what it knew
      }
      for (std::size_t i = 0; i < whole.entries().size(); ++i) {
        EXPECT_EQ(values_of(*backend, whole.entries()[i].second_moment.tensor),
                  values_of(*backend, rows.entries()[i].second_moment.tensor));
      }
      // Row 3 moves on without a gradient, by its moments; row 20 by the decay alone.
      const std::vector<double> end = values_of(*backend, value);
      EXPECT_NE(end[3 * 16], start[3 * 16]);
      EXPECT_EQ(end[20 * 16] == start[20 * 16], decay == 0);
    }
  }
}

// The table of factored embeddings has rows of words, too; their projection counts whole.
TEST(Optimizer, LeavingOutRowsOfFactoredEmbeddingsChangesNoBit) {
  auto backend = make_cpu_backend();
  Model whole_model = make_model(*backend, small_config(), 1), rows_model = make_model(*backend, small_config(), 1);
  for (Model* model : {&whole_model, &rows_model}) factor_embeddings(*backend, *model, 5);
  Optimizer whole(*backend, whole_model, {}), rows(*backend, rows_model, {});
  Arena arena(*backend);
  for (std::int64_t step = 1; step <= 3; ++step) {
    Batch batch;
    batch.ids = ids_of_step(step);
    const auto tokens = static_cast<std::int32_t>(batch.ids.size());
    batch.types.assign(batch.ids.size(), 0);
    batch.starts = {0, tokens};
    batch.labels = {1};
    for (Model* model : {&whole_model, &rows_model}) {
      arena.reset();
      Exec exec{*backend, arena};
      Model::Saved saved;
      const Tensor logits = model->forward(exec, batch, &saved), dlogits = exec.take(logits.rows, logits.cols);
      model->loss(exec, batch, logits, 1.0, dlogits);
      model->backward(exec, batch, saved, dlogits);
    }
    rows.use_word_rows(batch.ids);
    const double norm = whole.gradient_norm();
    EXPECT_GT(norm, 0.0);
    whole.update(0.01, step, norm);
    rows.update(0.01, step, norm);
    EXPECT_TRUE(same_bytes(bytes_of(*backend, whole_model), bytes_of(*backend, rows_model))) << "step " << step;
  }
}

TEST(Optimizer, AForgottenRowIsNoticed) {
  auto backend = make_reference_backend();
  Model whole_model = make_model(*backend, small_config(), 1), rows_model = make_model(*backend, small_config(), 1);
  Optimizer whole(*backend, whole_model, {}), rows(*backend, rows_model, {});
  for (Model* model : {&whole_model, &rows_model}) model->embeddings.word->gradient().as<double>()[9 * 16] = 1;
  const std::vector<std::int32_t> without_9 = {3, 4};
  rows.use_word_rows(without_9);
  whole.update(0.01, 1, whole.gradient_norm());
  rows.update(0.01, 1, rows.gradient_norm());
  EXPECT_FALSE(same_bytes(bytes_of(*backend, whole_model), bytes_of(*backend, rows_model)));
}

// The decoder of a masked language model gives every row a gradient.
TEST(Optimizer, ASharedWordEmbeddingCountsWhole) {
  auto backend = make_reference_backend();
  Config config = small_config();
  config.head = HeadKind::masked_lm;
  Model model = make_model(*backend, config, 1);
  Optimizer optimizer(*backend, model, {});
  model.embeddings.word->gradient().as<double>()[20 * 16] = 3;
  const std::vector<std::int32_t> ids = {1, 2};
  optimizer.use_word_rows(ids);
  EXPECT_DOUBLE_EQ(optimizer.gradient_norm(), 3);
}

TEST(Optimizer, NamesTheBadTensor) {
  auto backend = make_reference_backend();
  Model model = make_model(*backend, small_config(), 1);
  Optimizer optimizer(*backend, model, {});
  EXPECT_EQ(optimizer.find_bad_gradient(), "");
  EXPECT_EQ(find_bad_parameter(*backend, model), "");
  model.layers[1].ffn_in.bias->gradient().as<double>()[3] = std::nan("");
  EXPECT_EQ(optimizer.find_bad_gradient(), "bert.encoder.layer.1.intermediate.dense.bias");
  model.pooler->bias->tensor().as<double>()[0] = HUGE_VAL;
  EXPECT_EQ(find_bad_parameter(*backend, model), "bert.pooler.dense.bias");
}

TEST(Accumulation, EqualsTheBiggerBatch) {
  auto backend = make_reference_backend();
  const std::vector<EncodedExample> examples = separable_examples(12, 5, 7);
  const auto result_of = [&](std::int64_t micro_batches) {
    Model model = make_model(*backend, small_config(0.0f), 1);
    TrainOptions options;
    UpdateStep step(*backend, model, options);
    const auto batch = [&](std::int64_t micro) {
      std::vector<std::int64_t> indices;
      for (std::int64_t i = 0; i < 12 / micro_batches; ++i) indices.push_back(micro * (12 / micro_batches) + i);
      return collate(examples, indices, LabelKind::single_label, 2);
    };
    TrainState state;
    state.learning_rate = 0.01;
    const UpdateResult result = step.run(state, micro_batches, batch, nullptr);
    std::vector<double> all = {result.loss, result.gradient_norm, static_cast<double>(result.tokens)};
    model.visit([&](const std::string&, Parameter& p) {
      for (const double value : values_of(*backend, p.tensor())) all.push_back(value);
    });
    return all;
  };
  const std::vector<double> whole = result_of(1), parts = result_of(3);
  EXPECT_EQ(whole[2], 84);
  ASSERT_EQ(whole.size(), parts.size());
  // AdamW's first step is about the sign of a gradient: where one is nearly 0 its rounding shows.
  for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], parts[i], 1e-7) << i;
}

TEST(UpdateStep, AllocatesNothingOnceItRuns) {
  auto backend = make_cpu_backend();
  const std::vector<EncodedExample> examples = separable_examples(8, 5, 9);
  Model model = make_model(*backend, small_config(), 1);
  UpdateStep step(*backend, model, {});
  std::vector<std::size_t> reserved;
  std::vector<const void*> gradients;
  for (std::int64_t s = 0; s < 6; ++s) {
    TrainState state;
    state.step = s;
    state.learning_rate = 1e-3;
    const std::vector<std::int64_t> indices = {s, s + 1, s + 2};
    step.run(
        state, 1, [&](std::int64_t) { return collate(examples, indices, LabelKind::single_label, 2); }, nullptr);
    reserved.push_back(step.arena().reserved_bytes());
    gradients.push_back(model.layers[0].query.bias->gradient().data);
  }
  EXPECT_GT(reserved[1], 0u);
  for (std::size_t s = 2; s < 6; ++s) EXPECT_EQ(reserved[s], reserved[1]);
  for (const void* gradient : gradients) EXPECT_EQ(gradient, gradients.front());
}

TEST(DropoutSeed, DependsOnAllParts) {
  EXPECT_NE(dropout_seed(1, 2, 0), dropout_seed(1, 2, 1));
  EXPECT_NE(dropout_seed(1, 2, 0), dropout_seed(1, 3, 0));
  EXPECT_NE(dropout_seed(1, 2, 0), dropout_seed(2, 2, 0));
  EXPECT_NE(dropout_seed(1, 2, 1), dropout_seed(1, 3, 0));
}

// ---- the golden trajectory ------------------------------------------------------------------------------------------

std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
  const TensorEntry* entry = file.find(name);
  if (!entry) {
    ADD_FAILURE() << name << " is missing";
    return {};
  }
  const float* data = static_cast<const float*>(entry->data);
  return {data, data + entry->elements()};
}

Batch golden_batch(const SafetensorsFile& file, std::int64_t number) {
  const TensorEntry* ids = file.find(text("batch.", number, ".input_ids"));
  const TensorEntry* labels = file.find(text("batch.", number, ".labels"));
  Batch batch;
  if (!ids || !labels) {
    ADD_FAILURE() << "batch " << number << " is missing";
    return batch;
  }
  const auto* id = static_cast<const std::int32_t*>(ids->data);
  const auto* label = static_cast<const std::int32_t*>(labels->data);
  batch.ids.assign(id, id + ids->elements());
  batch.types.assign(batch.ids.size(), 0);
  for (std::int64_t b = 0; b <= ids->shape[0]; ++b)
    batch.starts.push_back(static_cast<std::int32_t>(b * ids->shape[1]));
  batch.labels.assign(label, label + labels->elements());
  return batch;
}

void follow_golden_trajectory(Backend& backend, double loss_tolerance, double norm_tolerance, double final_tolerance) {
  const std::filesystem::path directory = *shared_path("golden/tiny/classification");
  const SafetensorsFile file = SafetensorsFile::open(directory / "trajectory.safetensors");
  const std::vector<float> losses = floats(file, "losses"), norms = floats(file, "grad_norms");
  ASSERT_EQ(losses.size(), 24u);
  Model model = load_model(backend, directory);
  TrainOptions options;
  options.learning_rate = 5e-4;
  options.weight_decay = 0.01;
  UpdateStep step(backend, model, options);
  for (std::int64_t s = 0; s < 24; ++s) {
    TrainState state;
    state.step = s;
    state.total_steps = 24;
    state.learning_rate = options.learning_rate * schedule_factor(Schedule::linear, s, 4, 24);
    const UpdateResult result = step.run(
        state, 1, [&](std::int64_t) { return golden_batch(file, s % 6); }, nullptr);
    EXPECT_NEAR(result.loss, losses[static_cast<std::size_t>(s)], loss_tolerance) << "step " << s;
    const double norm = norms[static_cast<std::size_t>(s)];
    EXPECT_NEAR(result.gradient_norm, norm, norm_tolerance * norm) << "step " << s;
  }
  EXPECT_GT(std::abs(losses[0] - losses[23]), 0.05) << "the trajectory goes nowhere";
  std::size_t compared = 0;
  model.visit([&](const std::string& path, Parameter& p) {
    // Softmax does not see a shift of all keys: this gradient is 0, and AdamW follows what rounding makes of it.
    if (path.ends_with(".key.bias")) return;
    const std::vector<double> got = values_of(backend, p.tensor());
    const std::vector<float> want = floats(file, "final." + path);
    ASSERT_EQ(got.size(), want.size()) << path;
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], final_tolerance) << path << " " << i;
    ++compared;
  });
  EXPECT_GT(compared, 50u);
}

TEST(GoldenTrajectory, Reference) {
  BERTX_SKIP_WITHOUT_SHARED("golden/tiny/classification/trajectory.safetensors");
  auto backend = make_reference_backend();
  follow_golden_trajectory(*backend, 2e-6, 1e-5, 3e-5);  // the golden run itself is in float32
}

TEST(GoldenTrajectory, Cpu) {
  BERTX_SKIP_WITHOUT_SHARED("golden/tiny/classification/trajectory.safetensors");
  auto backend = make_cpu_backend();
  follow_golden_trajectory(*backend, 1e-5, 3e-5, 1e-4);
}

}  // namespace
}  // namespace bertx::test
