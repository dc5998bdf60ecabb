// Evaluation: order, loss, metrics, results in files; TensorBoard's records.
#include <cmath>
#include <nlohmann/json.hpp>

#include "fixture.h"
#include "train/crc32c.h"
#include "train/tensorboard.h"

namespace bertx::test {
namespace {

TEST(Evaluate, IsTheSameForEveryBatchSizeAndOrder) {
  auto backend = make_reference_backend();
  const Model model = make_model(*backend, small_config(), 1);
  std::vector<EncodedExample> examples = separable_examples(13, 3);
  const EvalResult whole = evaluate(*backend, model, examples, {LabelKind::single_label, {}, 1, 13});
  ASSERT_EQ(whole.predictions.examples(), 13);
  for (const std::int64_t size : {1, 4}) {
    const EvalResult result = evaluate(*backend, model, examples, {LabelKind::single_label, {}, 1, size});
    EXPECT_NEAR(*result.loss, *whole.loss, 1e-12);
    for (std::size_t i = 0; i < 26; ++i) EXPECT_NEAR(result.predictions.logits[i], whole.predictions.logits[i], 1e-6);
  }
  // One at a time, as they stand.
  double loss = 0;
  std::int64_t right = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const EvalResult one =
        evaluate(*backend, model, std::span(examples).subspan(i, 1), {LabelKind::single_label, {}, 1, 8});
    loss += *one.loss / 13;
    EXPECT_NEAR(one.predictions.logits[0], whole.predictions.logits[2 * i], 1e-6);
    EXPECT_NEAR(one.predictions.logits[1], whole.predictions.logits[2 * i + 1], 1e-6);
    right += (one.predictions.logits[1] > one.predictions.logits[0]) == (examples[i].label == 1);
  }
  EXPECT_NEAR(*whole.loss, loss, 1e-12);
  EXPECT_EQ(whole.metrics.values.front(),
            (std::pair<std::string, double>{"accuracy", static_cast<double>(right) / 13}));
}

TEST(Evaluate, IgnoredLabelsDoNotCount) {
  auto backend = make_reference_backend();
  const Model model = make_model(*backend, small_config(), 1);
  std::vector<EncodedExample> examples = separable_examples(9, 3);
  const std::vector<EncodedExample> first(examples.begin(), examples.begin() + 6);
  for (std::size_t i = 6; i < 9; ++i) examples[i].label = -100;
  const EvalResult all = evaluate(*backend, model, examples, {LabelKind::single_label, {}, 1, 2});
  const EvalResult labelled = evaluate(*backend, model, first, {LabelKind::single_label, {}, 1, 2});
  EXPECT_NEAR(*all.loss, *labelled.loss, 1e-12);
  EXPECT_EQ(all.metrics.values, labelled.metrics.values);
}

TEST(Evaluate, WithoutLabelsThereAreOnlyPredictions) {
  auto backend = make_reference_backend();
  const Model model = make_model(*backend, small_config(), 1);
  const std::vector<EncodedExample> examples = separable_examples(5, 3);
  const EvalResult result = evaluate(*backend, model, examples, {});
  EXPECT_FALSE(result.loss);
  EXPECT_TRUE(result.metrics.values.empty());
  EXPECT_EQ(result.predictions.classes().size(), 5u);
  EXPECT_EQ(result.figures("predict").front().first, "predict_samples");
}

TEST(Evaluate, RegressionAndMultiLabel) {
  auto backend = make_reference_backend();
  Config config = small_config();
  config.problem = ProblemKind::regression;
  config.labels = {"score"};
  const Model regression = make_model(*backend, config, 1);
  std::vector<EncodedExample> examples = separable_examples(12, 3);
  const EvalResult scores = evaluate(*backend, regression, examples, {LabelKind::regression, {"mse", "pearson"}, 1, 5});
  EXPECT_NEAR(*scores.loss, scores.metrics.values[0].second, 1e-6);  // the loss is the mean squared error
  config.problem = ProblemKind::multi_label;
  config.labels = {"a", "b", "c"};
  const Model multi = make_model(*backend, config, 1);
  for (EncodedExample& example : examples) example.classes = {example.label, 2};
  const EvalResult labels = evaluate(*backend, multi, examples, {LabelKind::multi_label, {}, 1, 5});
  EXPECT_EQ(labels.predictions.targets.size(), 36u);
  EXPECT_EQ(labels.predictions.targets[2], 1.0f);
  EXPECT_EQ(labels.predictions.targets[1], static_cast<float>(examples[0].label));
  double loss = 0;
  for (std::size_t i = 0; i < 36; ++i) {
    const double x = labels.predictions.logits[i], y = labels.predictions.targets[i];
    loss += (std::log1p(std::exp(x)) - x * y) / 36;
  }
  EXPECT_NEAR(*labels.loss, loss, 1e-6);
}

TEST(Evaluate, NamesLogitsThatAreNotFinite) {
  auto backend = make_reference_backend();
  Model model = make_model(*backend, small_config(), 1);
  model.head.classifier->bias->tensor().as<double>()[1] = std::nan("");
  const std::vector<EncodedExample> examples = separable_examples(3, 3);
  const Thrown thrown = thrown_by([&] { evaluate(*backend, model, examples, {LabelKind::single_label, {}, 1, 8}); });
  EXPECT_EQ(thrown.kind, ErrorKind::numeric);
  EXPECT_NAMES(thrown, "logit 1 is nan");
}

TEST(Results, AreMergedAsTransformersDoes) {
  const TemporaryDirectory directory;
  write_results(directory.path(), "train", {{"train_loss", 0.5}, {"train_samples", 100}, {"epoch", 3.0}});
  write_results(directory.path(), "eval", {{"eval_accuracy", 1.0}, {"eval_pearson", std::nan("")}, {"epoch", 3.0}});
  EXPECT_EQ(read_bytes(directory / "eval_results.json"),
            "{\n    \"epoch\": 3.0,\n    \"eval_accuracy\": 1.0,\n    \"eval_pearson\": null\n}\n");
  const auto all = nlohmann::json::parse(read_bytes(directory / "all_results.json"));
  EXPECT_EQ(all.size(), 5u);
  EXPECT_EQ(all["train_samples"].dump(), "100");
  write_bytes(directory / "all_results.json", "[1]");
  EXPECT_EQ(thrown_by([&] { write_results(directory.path(), "eval", {}); }).kind, ErrorKind::bad_input);
}

// ---- TensorBoard ----------------------------------------------------------------------------------------------------

template <class T>
T fixed(const std::string& bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

TEST(TensorBoard, RecordsAreFramedAndHoldTheScalars) {
  const TemporaryDirectory directory;
  TensorBoardWriter writer(directory / "runs");
  writer.add(300, {{"loss", 0.25}, {"eval_accuracy", 0.75}, {"step", 300}});
  EXPECT_NE(writer.path().filename().string().find("events.out.tfevents."), std::string::npos);
  const std::string bytes = read_bytes(writer.path());
  const auto unmasked = [](std::uint32_t crc) {
    const std::uint32_t rotated = crc - 0xA282EAD8u;
    return (rotated >> 17) | (rotated << 15);
  };
  std::vector<std::string> events;
  for (std::size_t at = 0; at < bytes.size();) {
    ASSERT_LE(at + 16, bytes.size());
    const auto length = static_cast<std::size_t>(fixed<std::uint64_t>(bytes, at));
    EXPECT_EQ(unmasked(fixed<std::uint32_t>(bytes, at + 8)), crc32c(bytes.data() + at, 8));
    ASSERT_LE(at + 16 + length, bytes.size());
    events.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(unmasked(fixed<std::uint32_t>(bytes, at + 12 + length)), crc32c(events.back().data(), length));
    at += 16 + length;
  }
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].substr(9), std::string("\x10\x00\x1a\x0d", 4) + "brain.Event:2");
  // wall_time: 9 bytes; step 300 as a varint; a summary of two values
  const std::string loss = std::string("\x0a\x11\x0a\x0a", 4) + "train/loss" + std::string("\x15\x00\x00\x80\x3e", 5);
  const std::string accuracy =
      std::string("\x0a\x14\x0a\x0d", 4) + "eval/accuracy" + std::string("\x15\x00\x00\x40\x3f", 5);
  EXPECT_EQ(events[1][0], '\x09');
  EXPECT_EQ(events[1].substr(9),
            std::string("\x10\xac\x02\x2a", 4) + static_cast<char>(loss.size() + accuracy.size()) + loss + accuracy);
}

}  // namespace
}  // namespace bertx::test
