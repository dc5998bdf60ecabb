// What the tests of training share: a small model, separable data made here, observers and a hook that masks.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "bertx/error.h"
#include "bertx/train.h"
#include "support.h"

namespace bertx::test {

inline Config small_config(float dropout = 0.1f) {
  Config config = make_config(2, 16, 2, 32, 40, 16);
  config.hidden_dropout = config.attention_dropout = dropout;
  config.initializer_range = 0.15f;
  config.head = HeadKind::sequence_classification;
  config.problem = ProblemKind::single_label;
  config.labels = {"low", "high"};
  return config;
}

/// Puts random factors in the place of the word embeddings.
inline void factor_embeddings(Backend& backend, Model& model, std::int64_t rank) {
  RandomSource random(5);
  const auto table = [&](std::int64_t rows, std::int64_t cols) {
    auto p = std::make_shared<Parameter>();
    p->value = random_matrix(backend, random, rows, cols, 0.1);
    return p;
  };
  const std::shared_ptr<Parameter> word = table(model.config.vocab, rank);
  model.factor_word_embeddings(word, table(rank, model.config.hidden));
}

/// Texts of label 0 hold tokens below 20, those of label 1 tokens from 22 on, among tokens that both may hold.
inline std::vector<EncodedExample> separable_examples(std::int64_t count, std::uint64_t seed, std::int64_t length = 0) {
  RandomSource random(seed);
  std::vector<EncodedExample> examples(static_cast<std::size_t>(count));
  for (EncodedExample& example : examples) {
    example.label = static_cast<std::int32_t>(random.integer(0, 1));
    example.target = static_cast<float>(example.label);
    example.ids = {2};
    const std::int64_t tokens = length > 0 ? length - 2 : random.integer(2, 8);
    for (std::int64_t i = 0; i < tokens; ++i) {
      const std::int64_t first = i % 3 == 2 ? 10 : example.label == 0 ? 5 : 25;
      example.ids.push_back(static_cast<std::int32_t>(first + random.integer(0, 9)));
    }
    example.ids.push_back(3);
    example.types.assign(example.ids.size(), 0);
  }
  return examples;
}

/// Everything that training changes, byte for byte, by name.
inline std::map<std::string, std::string> bytes_of(Backend& backend, Model& model) {
  std::map<std::string, std::string> all;
  const auto add = [&](const std::string& path, Tensor t) {
    std::string& bytes = all[path];
    bytes.resize(static_cast<std::size_t>(t.size()) * size_of(t.dtype));
    if (!bytes.empty()) backend.download(t, view(bytes.data(), t.rows, t.cols, t.dtype));
  };
  model.visit([&](const std::string& path, Parameter& p) { add(path, p.tensor()); });
  model.visit_structure([&](const std::string& path, Storage& part) { add(path, part.tensor); });
  return all;
}
inline testing::AssertionResult same_bytes(const std::map<std::string, std::string>& a,
                                           const std::map<std::string, std::string>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " and " << b.size() << " tensors";
  for (const auto& [path, bytes] : a) {
    const auto other = b.find(path);
    if (other == b.end()) return testing::AssertionFailure() << path << " is missing";
    if (other->second != bytes) return testing::AssertionFailure() << path << " differs";
  }
  return testing::AssertionSuccess();
}

struct Recorder : ProgressObserver {
  std::vector<StepReport> steps;
  std::vector<Figures> logs, evaluations;
  std::vector<std::string> checkpoints, warnings;
  std::function<void(const StepReport&)> at_step;
  std::function<void(std::int64_t)> at_evaluate;

  void on_step(const StepReport& report) override {
    steps.push_back(report);
    if (at_step) at_step(report);
  }
  void on_log(const TrainState&, const Figures& figures) override { logs.push_back(figures); }
  void on_evaluate_progress(std::int64_t done, std::int64_t) override {
    if (at_evaluate) at_evaluate(done);
  }
  void on_evaluate(const TrainState&, const Figures& figures) override { evaluations.push_back(figures); }
  void on_checkpoint(const TrainState&, const std::filesystem::path& path) override {
    checkpoints.push_back(path.filename().string());
  }
  void on_warning(const std::string& warning) override { warnings.push_back(warning); }
};

inline double figure(const Figures& figures, const std::string& name) {
  for (const auto& [key, value] : figures) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no figure " << name;
  return std::numeric_limits<double>::quiet_NaN();
}

/// The kind and text of the Error that `call` throws.
struct Thrown {
  ErrorKind kind{};
  std::string text;
};
inline Thrown thrown_by(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}
#define EXPECT_NAMES(thrown, part) EXPECT_NE((thrown).text.find(part), std::string::npos) << (thrown).text

/// Trains under masks by learned scores, with a penalty and a state of its own (host memory only).
struct MaskingHook : TrainHook {
  std::vector<MaskedWeight*> weights;
  std::int64_t updates = 0;
  bool finished = false;

  void begin(Backend& backend, Model& model, const TrainState&) override {
    weights.clear();
    model.visit_linears([&](const std::string&, Linear& linear) {
      if (const auto* dense = dynamic_cast<DenseWeight*>(linear.weight.get())) {
        linear.weight = std::make_shared<MaskedWeight>(backend, dense->parameter(), true, 0.01);
      }
      weights.push_back(static_cast<MaskedWeight*>(linear.weight.get()));
      weights.back()->scores()->learning_rate_factor = 3;
    });
  }
  void before_step(Backend& backend, Model&, const TrainState&) override {
    for (MaskedWeight* weight : weights) {
      const Tensor scores = weight->scores()->tensor(), mask = weight->mask().tensor;
      const double threshold = -0.001 * static_cast<double>(updates % 3);
      for (std::int64_t i = 0; i < mask.size(); ++i) {
        const double score = scores.dtype == DType::f32 ? scores.as<float>()[i] : scores.as<double>()[i];
        mask.as<std::uint8_t>()[i] = score > threshold;
      }
      weight->refresh(backend);
    }
  }
  double after_backward(Backend&, Model&, const TrainState&) override {
    for (MaskedWeight* weight : weights) {
      const Tensor g = weight->scores()->gradient();
      for (std::int64_t i = 0; i < g.size(); ++i) {
        if (g.dtype == DType::f32)
          g.as<float>()[i] += 1e-4f;
        else
          g.as<double>()[i] += 1e-4;
      }
    }
    return 0.25;
  }
  void after_update(Backend&, Model&, const TrainState&) override { ++updates; }
  void finish(Backend&, Model&, const TrainState&) override { finished = true; }
  std::string save() const override { return "{\"updates\": " + std::to_string(updates) + "}"; }
  void load(const std::string& json) override { updates = std::stoll(json.substr(json.find(':') + 1)); }
  std::vector<std::pair<std::string, double>> figures() const override {
    return {{"updates", static_cast<double>(updates)}};
  }
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace bertx::test
