// Running one model: batches do not change a text's logits, threads do not disturb each other, preparing for inference
// changes nothing but the time.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "bertx/error.h"
#include "bertx/model.h"
#include "bertx/safetensors.h"
#include "bertx/sparse/isa.h"
#include "support.h"
#include "tiny.h"

namespace bertx {
namespace {

using test::logits_of;

// The sequences of `batch` that `order` names, as a batch of their own.
Batch select(const Batch& batch, const std::vector<std::size_t>& order) {
  Batch out;
  out.starts.push_back(0);
  for (const std::size_t b : order) {
    out.ids.insert(out.ids.end(), batch.ids.begin() + batch.starts[b], batch.ids.begin() + batch.starts[b + 1]);
    out.types.insert(out.types.end(), batch.types.begin() + batch.starts[b], batch.types.begin() + batch.starts[b + 1]);
    out.starts.push_back(static_cast<std::int32_t>(out.ids.size()));
  }
  return out;
}

Model wide_model(Backend& backend, const std::string& kind) {
  Config config = make_config(3, 48, 4, 96, 101, 64);
  config.head = HeadKind::sequence_classification;
  config.labels = {"a", "b", "c"};
  config.initializer_range = 0.2f;
  Model model = make_model(backend, config, 5);
  test::randomise_vectors(backend, model, 6);
  if (kind != "dense") test::represent(backend, model, kind, 7);
  return model;
}

Batch wide_batch() {
  test::RandomSource random(8);
  Batch batch;
  batch.starts.push_back(0);
  for (const int length : {37, 1, 64, 7, 20, 16, 33, 2}) {
    for (int t = 0; t < length; ++t) {
      batch.ids.push_back(static_cast<std::int32_t>(random.integer(0, 100)));
      batch.types.push_back(t > length / 2);
    }
    batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  return batch;
}

class Running : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::unique_ptr<Backend> backend = make_backend(std::get<0>(GetParam()));
  Model model = wide_model(*backend, std::get<1>(GetParam()));
};

TEST_P(Running, OrderAndCompositionOfABatchDoNotChangeALogit) {
  const Batch batch = wide_batch();
  const std::vector<double> together = logits_of(*backend, model, batch);  // [3, 8]
  ASSERT_TRUE(test::trusted(together));
  // A sparse product sums in one order whatever the batch, and so do attention and norms. oneDNN has kernels of its own
  // for few columns: what passes through a dense product may differ in the last bits, 1e-6 of the largest logit.
  double largest = 0;
  for (const double logit : together) largest = std::max(largest, std::abs(logit));
  const std::vector<std::vector<std::size_t>> orders{{7, 6, 5, 4, 3, 2, 1, 0}, {2}, {1}, {0, 4}, {6, 6, 6, 1, 5}};
  for (const std::vector<std::size_t>& order : orders) {
    const std::vector<double> apart = logits_of(*backend, model, select(batch, order));
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t n = 0; n < order.size(); ++n) {
        EXPECT_NEAR(apart[c * order.size() + n], together[c * 8 + order[n]], 1e-6 * std::max(1.0, largest));
      }
    }
  }
}

TEST_P(Running, TheSameRunGivesTheSameBits) {
  const Batch batch = wide_batch();
  EXPECT_EQ(logits_of(*backend, model, batch), logits_of(*backend, model, batch));
}

TEST_P(Running, PreparedForInferenceGivesTheSameLogits) {
  const Batch batch = wide_batch();
  const std::vector<double> before = logits_of(*backend, model, batch);
  model.prepare(*backend);
  const std::vector<double> after = logits_of(*backend, model, batch);
  // A prepared product begins its sums with the bias instead of adding it at the end: other last bits in every layer,
  // which the norms of this model of wide weights enlarge to a few 1e-6.
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-5);
  model.refresh(*backend);
  EXPECT_EQ(logits_of(*backend, model, batch), before);
}

TEST_P(Running, PreparationStacksQueryKeyAndValueOfSparseLayers) {
  const auto stacks = [&] {
    std::size_t count = 0;
    model.visit_kernels([&](const std::string& path, const std::string& kernel, const PreparedWeight* prepared) {
      EXPECT_FALSE(kernel.empty());
      if (path.ends_with("query+key+value")) {
        EXPECT_NE(prepared, nullptr);
        ++count;
      }
    });
    return count;
  };
  EXPECT_EQ(stacks(), 0u);
  model.prepare(*backend);
  const bool sparse = model.layers.front().query.weight->kind() == "csr" && backend->name() == "cpu";
  EXPECT_TRUE(!sparse || stacks() == model.layers.size());
  model.refresh(*backend);
  EXPECT_EQ(stacks(), 0u);
}

TEST_P(Running, OneModelServesManyThreads) {
  const Batch batch = wide_batch();
  model.prepare(*backend);
  const std::vector<double> alone = logits_of(*backend, model, batch);
  std::vector<std::vector<double>> got(4);
  std::vector<std::thread> threads;
  for (std::vector<double>& mine : got) {
    threads.emplace_back([&] {
      for (int n = 0; n < 3; ++n) mine = logits_of(*backend, model, batch);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<double>& mine : got) {
    for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(mine[i], alone[i], 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Running,
                         testing::Combine(testing::Values("reference", "cpu"),
                                          testing::Values("dense", "csr", "low_rank", "shared_sum", "few_heads",
                                                          "few_neurons", "tucker", "gated", "block_masked")),
                         [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param); });

TEST(RunningModels, SparseLogitsAreTheDenseLogitsOfTheSameZeros) {
  const auto backend = make_backend("cpu");
  Model sparse = wide_model(*backend, "csr"), dense = wide_model(*backend, "csr");
  dense.visit_linears([&](const std::string&, Linear& linear) {
    auto w = std::make_shared<Parameter>();
    w->value = make_storage(*backend, linear.weight->out(), linear.weight->in(), DType::f32);
    linear.weight->materialize(*backend, w->tensor());
    linear.weight = std::make_shared<DenseWeight>(w);
  });
  const Batch batch = wide_batch();
  const std::vector<double> a = logits_of(*backend, sparse, batch), b = logits_of(*backend, dense, batch);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance(DType::f32, 96, 30));
}

TEST(RunningModels, EveryInstructionSetGivesTheLogitsOfTheReference) {
  const auto reference = make_backend("reference"), cpu = make_backend("cpu");
  const Batch batch = wide_batch();
  for (const std::string kind : {"dense", "csr"}) {
    const std::vector<double> want = logits_of(*reference, wide_model(*reference, kind), batch);
    const sparse::Isa found = sparse::detected_isa();
    for (const sparse::Isa isa : {sparse::Isa::portable, sparse::Isa::avx2, sparse::Isa::avx512}) {
      if (isa > found) continue;  // this processor lacks it
      sparse::force_isa(isa);
      const std::vector<double> got = logits_of(*cpu, wide_model(*cpu, kind), batch);
      for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-5) << sparse::isa_name(isa);
    }
    sparse::force_isa(found);
  }
}

// Only a pooler needs a first token: the encoder takes sequences without any, also of a model that has a pooler.
TEST(RunningModels, TheEncoderTakesASequenceWithoutTokens) {
  const auto backend = make_backend("cpu");
  const Model model = wide_model(*backend, "dense");
  Batch batch = select(wide_batch(), {3, 4});
  Arena arena(*backend);
  Exec exec{*backend, arena};
  const std::vector<double> expected = test::values_of(*backend, model.encode(exec, batch));
  batch.starts.insert(batch.starts.begin() + 1, batch.starts[1]);
  EXPECT_EQ(test::values_of(*backend, model.encode(exec, batch)), expected);
  EXPECT_THROW(model.forward(exec, batch), Error);
}

TEST(RunningModels, ABatchThatFitsNoModelIsRefused) {
  const auto backend = make_backend("cpu");
  const Model model = wide_model(*backend, "dense");
  const auto message = [&](const std::function<void(Batch&)>& spoil) -> std::string {
    Batch batch = wide_batch();
    spoil(batch);
    try {
      logits_of(*backend, model, batch);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message([](Batch& b) { b.ids[3] = 101; }).find("token 3 has id 101"), std::string::npos);
  EXPECT_NE(message([](Batch& b) { b.types[3] = 2; }).find("type 2"), std::string::npos);
  EXPECT_NE(message([](Batch& b) {
              b.starts = {0, 100, 180};
            }).find("sequence 0 has 100 tokens, expected 0 to 64"),
            std::string::npos);
  EXPECT_NE(message([](Batch& b) { b.starts[1] = 0; }).find("sequence 0 is empty"), std::string::npos);
  EXPECT_NE(message([](Batch& b) { b.types.pop_back(); }).find("starts"), std::string::npos);
}

// ---- the model of the quickstart ------------------------------------------------------------------------------------

// Ten texts by the reference implementation; the model itself comes from BERTX_MINILM or from a quickstart that ran.
TEST(MiniLm, HiddenStatesAndPoolerAreThoseOfTheReference) {
  BERTX_SKIP_WITHOUT_SHARED("golden/minilm");
  const char* set = std::getenv("BERTX_MINILM");
  const std::filesystem::path directory = set ? set : std::filesystem::path(BERTX_SOURCE_DIR) / ".quickstart/model";
  if (!std::filesystem::exists(directory / "model.safetensors")) {
    GTEST_SKIP() << "no model in " << directory << ": run tools/quickstart, or set BERTX_MINILM to a directory with it";
  }
  const auto backend = make_backend("cpu");
  const Model model = load_model(*backend, directory);
  const SafetensorsFile golden = SafetensorsFile::open(*test::shared_path("golden/minilm") / "expected.safetensors");
  double worst = 0;
  for (int text = 0; text < 10; ++text) {
    const auto floats = [&](const std::string& name) {
      const TensorEntry* entry = golden.find(std::to_string(text) + "." + name);
      EXPECT_NE(entry, nullptr) << name;
      return std::span(static_cast<const float*>(entry->data), static_cast<std::size_t>(entry->elements()));
    };
    const TensorEntry* ids = golden.find(std::to_string(text) + ".input_ids");
    ASSERT_NE(ids, nullptr);
    Batch batch;
    for (std::int64_t t = 0; t < ids->elements(); ++t) {
      batch.ids.push_back(ids->type == ElementType::i64
                              ? static_cast<std::int32_t>(static_cast<const std::int64_t*>(ids->data)[t])
                              : static_cast<const std::int32_t*>(ids->data)[t]);
    }
    batch.types.assign(batch.ids.size(), 0);
    batch.starts = {0, static_cast<std::int32_t>(batch.ids.size())};
    Arena arena(*backend);
    Exec exec{*backend, arena};
    const std::vector<double> hidden = test::values_of(*backend, model.encode(exec, batch));  // [384, T]
    const auto want = floats("last_hidden");                                                  // [T, 384]
    const std::size_t tokens = batch.ids.size();
    ASSERT_EQ(hidden.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double error = std::abs(hidden[i % 384 * tokens + i / 384] - static_cast<double>(want[i]));
      ASSERT_LE(error, 2e-5) << "text " << text;
      worst = std::max(worst, error);
    }
    const std::vector<double> pooled = test::values_of(*backend, model.forward(exec, batch));
    const auto want_pooled = floats("pooled");
    for (std::size_t i = 0; i < want_pooled.size(); ++i)
      ASSERT_NEAR(pooled[i], want_pooled[i], 2e-5) << "text " << text;
  }
  RecordProperty("worst_error", std::to_string(worst));
}

}  // namespace
}  // namespace bertx
