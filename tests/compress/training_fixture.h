// Tiny models and texts, and trainings of them that are stopped and resumed.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "../backend/planted.h"
#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"
#include "support.h"
#include "tiny_examples.h"

namespace bertx::compress {

inline Model tiny_model(Backend& backend) {
  Model model = make_model(backend, test::tiny_config(test::tiny_heads().front()), 3);
  test::randomise_vectors(backend, model, 4);
  return model;
}

using test::tiny_examples;

/// The numbers of a linear map as they act.
inline std::vector<double> numbers_of(Backend& backend, const LinearWeight& weight) {
  const Storage dense = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, dense.tensor);
  return test::values_of(backend, dense.tensor);
}

/// Of all matrices of the encoder, shared ones once.
inline std::vector<double> weights_of(Backend& backend, Model& model) {
  std::vector<double> all;
  std::set<const LinearWeight*> seen;
  model.visit_linears([&](const std::string&, Linear& linear) {
    if (!seen.insert(linear.weight.get()).second) return;
    const std::vector<double> own = numbers_of(backend, *linear.weight);
    all.insert(all.end(), own.begin(), own.end());
  });
  return all;
}

/// Of all parameters, by name.
inline std::map<std::string, std::vector<double>> parameters_of(Backend& backend, Model& model) {
  std::map<std::string, std::vector<double>> all;
  model.visit([&](const std::string& path, Parameter& p) { all[path] = test::values_of(backend, p.tensor()); });
  return all;
}

inline double share_of_zeros(const std::vector<double>& w) {
  return static_cast<double>(std::count(w.begin(), w.end(), 0.0)) / static_cast<double>(w.size());
}

/// What the Error(usage) that `call` throws says.
inline std::string usage_message(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "no error";
}

/// The cpu backend, of whose memory the host is told to keep its hands off.
class Elsewhere final : public test::Planted {
 public:
  Elsewhere() : Planted(make_backend("cpu"), "") {}
  bool host_memory() const override { return false; }
};

struct ShortTraining {
  std::int64_t steps = 12, stop = 12;  ///< stops after `stop` and goes on from the checkpoint where that is less
  double learning_rate = 1e-3;
  bool elsewhere = false;
};
struct Trained {
  std::map<std::string, std::vector<double>> parameters;
  std::vector<double> weights;     ///< of the encoder's matrices
  std::vector<double> sparsities;  ///< after each step
};

inline Trained trained(const Recipe& recipe, const std::vector<EncodedExample>& examples, ShortTraining how = {}) {
  const std::unique_ptr<Backend> backend = how.elsewhere ? std::make_unique<Elsewhere>() : make_backend("cpu");
  test::TemporaryDirectory directory;
  TrainOptions options;
  options.output_dir = directory.path();
  options.max_steps = how.steps;
  options.learning_rate = how.learning_rate;
  options.per_device_train_batch_size = 4;
  options.save_steps = std::min(how.stop, how.steps);
  options.logging_steps = 1;
  options.save_final_model = false;
  TrainData data;
  data.train = examples;
  Trained run;
  const auto train_on = [&](std::uint64_t seed) {
    Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), seed);
    const auto hook = make_compressor(recipe, {examples, LabelKind::single_label});
    const TrainResult result = train(*backend, model, nullptr, data, options, hook.get());
    run.sparsities.clear();
    for (const Figures& entry : result.log_history) {
      for (const auto& [name, value] : entry) {
        if (name == "sparsity") run.sparsities.push_back(value);
      }
    }
    run.weights = weights_of(*backend, model);
    run.parameters = parameters_of(*backend, model);
  };
  train_on(3);
  if (how.stop < how.steps) {
    options.save_steps = how.steps;
    options.resume_from_checkpoint = directory.path() / ("checkpoint-" + std::to_string(how.stop));
    train_on(4);  // another model: everything must come from the checkpoint
  }
  return run;
}

/// Stopped after each of `stops` a training ends in the same bits.
inline void expect_resumes(const Recipe& recipe, const std::vector<EncodedExample>& examples,
                           const std::vector<std::int64_t>& stops, ShortTraining how = {}) {
  const Trained whole = trained(recipe, examples, how);
  for (const std::int64_t stop : stops) {
    how.stop = stop;
    const Trained resumed = trained(recipe, examples, how);
    EXPECT_EQ(whole.parameters, resumed.parameters) << recipe.method << ", stopped after " << stop;
    EXPECT_EQ(whole.sparsities, resumed.sparsities) << recipe.method << ", stopped after " << stop;
  }
}

}  // namespace bertx::compress
