// Whole models against the reference implementation (PyTorch, float64): hidden states, logits, loss, every gradient.
#include <gtest/gtest.h>

#include "bertx/model.h"
#include "bertx/safetensors.h"
#include "support.h"

namespace bertx {
namespace {

// A golden tensor as doubles.
std::vector<double> doubles(const SafetensorsFile& file, const std::string& name) {
  const TensorEntry* entry = file.find(name);
  if (!entry) throw std::runtime_error("no golden tensor " + name);
  std::vector<double> out(static_cast<std::size_t>(entry->elements()));
  for (std::size_t i = 0; i < out.size(); ++i) {
    switch (entry->type) {
      case ElementType::f64: out[i] = static_cast<const double*>(entry->data)[i]; break;
      case ElementType::f32: out[i] = static_cast<const float*>(entry->data)[i]; break;
      case ElementType::i32: out[i] = static_cast<const std::int32_t*>(entry->data)[i]; break;
      default: throw std::runtime_error("golden tensor of an unexpected type: " + name);
    }
  }
  return out;
}

// The padded inputs as a ragged batch; place[t] is where token t stands in the padded [5, 37].
struct GoldenBatch {
  Batch batch;
  std::vector<std::size_t> place;
};

GoldenBatch ragged(const SafetensorsFile& file) {
  GoldenBatch out;
  const std::vector<double> ids = doubles(file, "in.input_ids"), types = doubles(file, "in.token_type_ids"),
                            mask = doubles(file, "in.attention_mask");
  const auto rows = static_cast<std::size_t>(file.find("in.input_ids")->shape[0]), width = ids.size() / rows;
  const TensorEntry* labels = file.find("in.labels");
  out.batch.starts.push_back(0);
  for (std::size_t b = 0; b < rows; ++b) {
    for (std::size_t t = 0; t < width && mask[b * width + t] != 0; ++t) {
      const std::size_t at = b * width + t;
      out.batch.ids.push_back(static_cast<std::int32_t>(ids[at]));
      out.batch.types.push_back(static_cast<std::int32_t>(types[at]));
      if (labels && labels->shape.size() == 2 && labels->type == ElementType::i32) {
        out.batch.labels.push_back(static_cast<std::int32_t>(doubles(file, "in.labels")[at]));
      }
      out.place.push_back(at);
    }
    out.batch.starts.push_back(static_cast<std::int32_t>(out.batch.ids.size()));
  }
  if (labels && labels->shape.size() == 1 && labels->type == ElementType::i32) {
    for (const double label : doubles(file, "in.labels")) out.batch.labels.push_back(static_cast<std::int32_t>(label));
  }
  if (labels && labels->type == ElementType::f32) {  // [B] or [B, C] -> [C, B]
    const std::vector<double> targets = doubles(file, "in.labels");
    const std::size_t outputs = targets.size() / rows;
    for (std::size_t c = 0; c < outputs; ++c) {
      for (std::size_t b = 0; b < rows; ++b) out.batch.targets.push_back(static_cast<float>(targets[b * outputs + c]));
    }
  }
  if (file.find("in.start_positions")) {
    for (const char* name : {"in.start_positions", "in.end_positions"}) {
      for (const double p : doubles(file, name)) out.batch.labels.push_back(static_cast<std::int32_t>(p));
    }
  }
  return out;
}

// The reference's softmax over positions takes in the padding of its batch, so that a text's loss changes with its
// neighbours; ours excludes it. The expected loss is therefore made from the golden logits of the real positions, and
// the gradients of this head are checked by central differences (gradient_test.cpp).
double span_loss(const SafetensorsFile& golden, const Batch& batch) {
  double sum = 0;
  const auto sequences = static_cast<std::size_t>(batch.sequences());
  for (const bool end : {false, true}) {
    const std::vector<double> logits = doubles(golden, end ? "out.end_logits" : "out.start_logits");
    const std::size_t width = logits.size() / sequences;
    for (std::size_t b = 0; b < sequences; ++b) {
      const double* row = logits.data() + b * width;
      double total = 0;
      for (std::int32_t t = 0; t < batch.starts[b + 1] - batch.starts[b]; ++t) total += std::exp(row[t]);
      sum += std::log(total) - row[batch.labels[b + (end ? sequences : 0)]];
    }
  }
  return sum / static_cast<double>(2 * sequences);
}

class GoldenModel : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    BERTX_SKIP_WITHOUT_SHARED("golden/tiny");
    const auto& [backend_name, head] = GetParam();
    directory = *test::shared_path("golden/tiny/" + head);
    backend = make_backend(backend_name);
    exact = backend_name == "reference";
    LoadReport report;
    model = load_model(*backend, directory, {}, &report);
    EXPECT_TRUE(report.initialised.empty());
    EXPECT_TRUE(report.unused.empty()) << report.unused.front();
  }

  std::filesystem::path directory;
  std::unique_ptr<Backend> backend;
  bool exact = false;
  Model model;
};

TEST_P(GoldenModel, HiddenStatesLogitsAndLoss) {
  const SafetensorsFile golden = SafetensorsFile::open(directory / "golden.safetensors");
  const auto [batch, place] = ragged(golden);
  Arena arena(*backend);
  Exec exec{*backend, arena};
  const double accepted = exact ? 1e-10 : 1e-5;

  std::vector<Tensor> every_layer;
  model.encode(exec, batch, nullptr, &every_layer);
  ASSERT_EQ(every_layer.size(), 4u);
  for (std::size_t layer = 0; layer < every_layer.size(); ++layer) {
    const std::vector<double> want = doubles(golden, "out.hidden." + std::to_string(layer));
    const std::vector<double> got = test::values_of(*backend, every_layer[layer]);  // [H, T]
    const std::size_t tokens = place.size(), hidden = got.size() / tokens;
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t f = 0; f < hidden; ++f) {
        ASSERT_NEAR(got[f * tokens + t], want[place[t] * hidden + f], accepted) << "layer " << layer << " token " << t;
      }
    }
  }

  const Tensor logits = model.forward(exec, batch);
  const std::vector<double> got = test::values_of(*backend, logits);
  const auto rows = static_cast<std::size_t>(logits.rows), cols = static_cast<std::size_t>(logits.cols);
  for (std::size_t c = 0; c < rows; ++c) {
    const bool spans = golden.find("out.start_logits") != nullptr;
    const std::vector<double> want =
        doubles(golden, spans ? (c == 0 ? "out.start_logits" : "out.end_logits") : "out.logits");
    for (std::size_t n = 0; n < cols; ++n) {
      const std::size_t at = cols == place.size() ? place[n] : n;
      ASSERT_NEAR(got[c * cols + n], want[spans ? at : at * rows + c], accepted) << "logit " << c << " of " << n;
    }
  }
  const bool spans = model.head.kind == HeadKind::question_answering;
  EXPECT_NEAR(model.loss(exec, batch, logits), spans ? span_loss(golden, batch) : doubles(golden, "out.loss")[0],
              accepted);
}

TEST_P(GoldenModel, EveryGradient) {
  if (model.head.kind == HeadKind::question_answering)
    GTEST_SKIP() << "the reference's QA loss includes padding: see span_loss";
  const SafetensorsFile golden = SafetensorsFile::open(directory / "golden.safetensors");
  const Batch batch = ragged(golden).batch;
  Arena arena(*backend);
  Exec exec{*backend, arena};
  model.zero_gradients(*backend);
  Model::Saved saved;
  const Tensor logits = model.forward(exec, batch, &saved);
  const Tensor dlogits = exec.take(logits.rows, logits.cols);
  model.loss(exec, batch, logits, 1.0, dlogits);
  model.backward(exec, batch, saved, dlogits);

  double whole = 0;  // norm of the gradient of all parameters
  for (const TensorEntry& entry : golden.entries()) {
    if (!entry.name.starts_with("grad.")) continue;
    for (const double g : doubles(golden, entry.name)) whole += g * g;
  }
  whole = std::sqrt(whole);

  std::size_t compared = 0;
  model.visit([&](const std::string& path, Parameter& p) {
    ASSERT_NE(golden.find("grad." + path), nullptr) << path;
    const std::vector<double> want = doubles(golden, "grad." + path), got = test::values_of(*backend, p.gradient());
    ASSERT_EQ(got.size(), want.size()) << path;
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      error += (got[i] - want[i]) * (got[i] - want[i]);
      norm += want[i] * want[i];
    }
    // The key's bias has a gradient of 0 (softmax does not see it), a sum that cancels: there the error is measured
    // against a thousandth of the whole gradient.
    EXPECT_LE(std::sqrt(error), (exact ? 1e-10 : 1e-4) * std::max(std::sqrt(norm), 1e-3 * whole)) << path;
    ++compared;
  });
  const auto wanted = std::count_if(golden.entries().begin(), golden.entries().end(),
                                    [](const TensorEntry& entry) { return entry.name.starts_with("grad."); });
  EXPECT_EQ(compared, static_cast<std::size_t>(wanted));
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenModel,
                         testing::Combine(testing::Values("reference", "cpu"),
                                          testing::Values("classification", "regression", "multilabel", "token", "mlm",
                                                          "qa")),
                         [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param); });

}  // namespace
}  // namespace bertx
