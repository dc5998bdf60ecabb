// Passes that were recorded: the logits are those of Model::forward, whatever batch came between.
#include "bertx/recorded_passes.h"

#include <cstdlib>

#include "bertx/error.h"
#include "cuda.h"
#include "tiny.h"

namespace bertx::test {
namespace {

/// `count` batches of the same number of tokens and sequences, cut at different places.
std::vector<Batch> batches_of(const Model& model, std::int64_t tokens, std::int64_t sequences, int count) {
  RandomSource random(static_cast<std::uint64_t>(100 * tokens + sequences));
  std::vector<Batch> out;
  for (int i = 0; i < count; ++i) {
    Batch& batch = out.emplace_back();
    for (std::int64_t t = 0; t < tokens; ++t) {
      batch.ids.push_back(static_cast<std::int32_t>(random.integer(0, model.config.vocab - 1)));
      batch.types.push_back(static_cast<std::int32_t>(random.integer(0, 1)));
    }
    batch.starts.push_back(0);
    for (std::int64_t b = 1; b < sequences; ++b) {  // leaves a token for each that follows
      batch.starts.push_back(static_cast<std::int32_t>(random.integer(
          batch.starts.back() + 1, std::min<std::int64_t>(batch.starts.back() + 9, tokens - sequences + b))));
    }
    batch.starts.push_back(static_cast<std::int32_t>(tokens));
  }
  return out;
}

class RecordedPassesTest : public CudaTest {
 protected:
  /// Batches of three kinds in turn, some logits kept while others are computed.
  static void expect_same(Backend& backend, const Model& model) {
    std::vector<Batch> batches;
    for (int i = 0; i < 4; ++i) {
      for (const auto& [tokens, sequences] : {std::pair{18, 4}, std::pair{9, 1}, std::pair{13, 2}}) {
        batches.push_back(batches_of(model, tokens, sequences, 4)[static_cast<std::size_t>(i)]);
      }
    }
    Arena arena(backend);
    Exec exec{backend, arena};
    RecordedPasses passes(backend, model);
    std::vector<Tensor> logits;
    for (const Batch& batch : batches) logits.push_back(passes.forward(exec, batch));
    EXPECT_EQ(passes.recorded(), 3u);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const std::vector<double> found = values_of(backend, logits[i]);
      EXPECT_EQ(found, logits_of(backend, model, batches[i])) << "batch " << i;
      EXPECT_TRUE(trusted(found, 0.05));
    }
  }
};

TEST_F(RecordedPassesTest, GiveTheLogitsOfEveryHead) {
  for (const BackendOptions options : {BackendOptions{}, BackendOptions{DType::bf16}}) {
    const auto backend = make_cuda(options);
    for (const TinyHead& head : tiny_heads()) {
      SCOPED_TRACE(head.name);
      Model model = make_model(*backend, tiny_config(head), 7);
      randomise_vectors(*backend, model, 8);
      model.prepare(*backend);
      expect_same(*backend, model);
    }
  }
}

TEST_F(RecordedPassesTest, GiveTheLogitsOfEveryRepresentation) {
  const auto backend = make_cuda();
  for (const char* kind : {"masked", "csr", "low_rank", "low_rank_csr", "sum", "shared", "shared_sum", "no_heads",
                           "few_heads", "few_neurons", "tucker", "embedding", "gated", "block_masked"}) {
    SCOPED_TRACE(kind);
    Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
    represent(*backend, model, kind, 5);
    model.prepare(*backend);
    expect_same(*backend, model);
  }
}

TEST_F(RecordedPassesTest, AreLeftOutWhereAskedAndForWhatBackwardWants) {
  const auto backend = make_cuda();
  Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
  const std::vector<Batch> batches = batches_of(model, 13, 2, 3);
  Arena arena(*backend);
  ::setenv("BERTX_GRAPHS", "off", 1);
  RecordedPasses off(*backend, model);
  ::unsetenv("BERTX_GRAPHS");
  RecordedPasses on(*backend, model);
  Exec plain{*backend, arena}, all{*backend, arena};
  all.all_tokens = true;
  for (const Batch& batch : batches) {
    const std::vector<double> expected = logits_of(*backend, model, batch);
    EXPECT_EQ(values_of(*backend, off.forward(plain, batch)), expected);
    EXPECT_TRUE(all_near(values_of(*backend, on.forward(all, batch)), expected, DType::f32, 100, 10));
  }
  EXPECT_EQ(off.recorded() + on.recorded(), 0u);
}

TEST_F(RecordedPassesTest, RefuseWhatForwardRefuses) {
  const auto backend = make_cuda();
  Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
  RecordedPasses passes(*backend, model);
  Arena arena(*backend);
  Exec exec{*backend, arena};
  const std::vector<Batch> batches = batches_of(model, 13, 2, 3);
  for (const Batch& batch : batches) passes.forward(exec, batch);
  ASSERT_EQ(passes.recorded(), 1u);
  Batch bad = batches[0];
  bad.ids[5] = static_cast<std::int32_t>(model.config.vocab);
  EXPECT_THROW(passes.forward(exec, bad), Error);
  EXPECT_EQ(values_of(*backend, passes.forward(exec, batches[1])), logits_of(*backend, model, batches[1]));
}

TEST(RecordedPasses, AreForwardOnTheHost) {
  const auto backend = make_cpu_backend();
  Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
  RecordedPasses passes(*backend, model);
  Arena arena(*backend);
  Exec exec{*backend, arena};
  for (const Batch& batch : batches_of(model, 13, 2, 3)) {
    EXPECT_EQ(values_of(*backend, passes.forward(exec, batch)), logits_of(*backend, model, batch));
  }
  EXPECT_EQ(passes.recorded(), 0u);
}

TEST(RecordedPasses, RefuseAnUnknownSetting) {
  const auto backend = make_cpu_backend();
  Model model = make_model(*backend, tiny_config(tiny_heads().front()), 7);
  ::setenv("BERTX_GRAPHS", "always", 1);
  try {
    RecordedPasses passes(*backend, model);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("BERTX_GRAPHS: found \"always\", expected on or off"), std::string::npos);
  }
  ::unsetenv("BERTX_GRAPHS");
}

}  // namespace
}  // namespace bertx::test
