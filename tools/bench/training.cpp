#include "bench/training.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "bench/timing.h"
#include "bertx/error.h"

namespace bertx::tools {
namespace {

constexpr double kLearningRate = 2e-5;

Trainee trainee(Backend& backend, Model model, double sparsity, bool dense, std::uint64_t seed) {
  Trainee out;
  out.sparsity = counted_sparsity(backend, model, sparsity);
  out.dense = dense;
  out.model = std::make_unique<Model>(std::move(model));
  out.model->refresh(backend);
  out.kernel = kernels_of(*out.model);
  TrainOptions options;
  options.seed = seed;
  out.step = std::make_unique<UpdateStep>(backend, *out.model, options);
  return out;
}

/// Hears where in an update the gradients are there, and where it ends: between them lie clipping and AdamW.
class OptimizerClock : public TrainHook {
 public:
  double after_backward(Backend&, Model&, const TrainState&) override {
    begin_ = std::chrono::steady_clock::now();
    return 0;
  }
  void after_update(Backend&, Model&, const TrainState&) override {
    ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin_).count();
  }
  double ms() const { return ms_; }

 private:
  std::chrono::steady_clock::time_point begin_;
  double ms_ = 0;
};

UpdateResult update(Trainee& trained, const Batch& batch, double learning_rate, TrainHook* hook = nullptr) {
  TrainState state;
  state.step = trained.updates++;
  state.total_steps = state.step + 1;
  state.learning_rate = learning_rate;
  return trained.step->run(
      state, 1, [&](std::int64_t) { return batch; }, hook);
}

/// The weight of `csr` as a mask on a dense matrix.
std::shared_ptr<LinearWeight> masked(Backend& backend, const CsrWeight& csr) {
  auto weight = std::make_shared<MaskedWeight>(backend, dense_copy(backend, csr), false);
  const CsrPattern& pattern = csr.pattern();
  std::vector<std::int32_t> starts(static_cast<std::size_t>(pattern.rows + 1));
  std::vector<std::int32_t> columns(static_cast<std::size_t>(pattern.nnz));
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(pattern.rows * pattern.cols));
  backend.download(pattern.row_start, view(starts.data(), 1, pattern.rows + 1, DType::i32));
  if (pattern.nnz > 0) backend.download(pattern.columns, view(columns.data(), 1, pattern.nnz, DType::i32));
  for (std::size_t r = 0; r + 1 < starts.size(); ++r) {
    for (std::int32_t n = starts[r]; n < starts[r + 1]; ++n) {
      const std::size_t column = static_cast<std::size_t>(columns[static_cast<std::size_t>(n)]);
      mask[r * static_cast<std::size_t>(pattern.cols) + column] = 1;
    }
  }
  backend.upload(view(mask.data(), pattern.rows, pattern.cols, DType::u8), weight->mask().tensor);
  return weight;
}

/// A model with the numbers of `like`, whose CSR matrices are dense ones under a mask.
Model masked_twin(Backend& backend, const MakeModel& make, Model& like) {
  std::vector<const LinearWeight*> weights;
  like.visit_linears([&](const std::string&, Linear& linear) { weights.push_back(linear.weight.get()); });
  std::map<std::string, Tensor> values;
  like.visit([&](const std::string& path, Parameter& p) { values.emplace(path, p.tensor()); });

  Model twin = make();
  std::size_t next = 0;
  twin.visit_linears([&](const std::string&, Linear& linear) {
    const LinearWeight* weight = weights[next++];
    if (const auto* csr = dynamic_cast<const CsrWeight*>(weight)) linear.weight = masked(backend, *csr);
  });
  twin.visit([&](const std::string& path, Parameter& p) {
    const auto found = values.find(path);
    if (found != values.end()) backend.copy(found->second, p.tensor());  // else masked: it has its numbers already
  });
  return twin;
}

/// The larger relative difference of loss and gradient norm from those of the same model under a mask, same dropout.
double checked_difference(Backend& backend, const MakeModel& make, Trainee& sparse, const Batch& batch,
                          std::uint64_t seed) {
  Trainee twin = trainee(backend, masked_twin(backend, make, *sparse.model), sparse.sparsity, false, seed);
  twin.updates = sparse.updates;  // which the seed of dropout follows from
  const UpdateResult found = update(sparse, batch, 0), expected = update(twin, batch, 0);
  double largest = 0;
  for (const auto& [what, a, b] : {std::tuple{"loss", found.loss, expected.loss},
                                   std::tuple{"gradient norm", found.gradient_norm, expected.gradient_norm}}) {
    const double difference = std::fabs(a - b) / std::max(std::fabs(b), 1e-6);
    const double accepted = accepted_difference(backend);
    if (!(difference <= accepted)) {
      fail(ErrorKind::numeric, "kernel ", sparse.kernel, ": the ", what, " of an update is ", a, "; expected ", b,
           ", that of a dense model under the same mask, to ", accepted, " of it");
    }
    largest = std::max(largest, difference);
  }
  return largest;
}

/// One trainee on one set of texts.
struct Cell {
  Trainee* trained;
  std::size_t texts;
  double difference = 0;
  std::vector<double> times, optimizer_times;
};

}  // namespace

std::vector<Trainee> trainees(Backend& backend, const MakeModel& make, const std::vector<double>& sparsities,
                              bool control, std::uint64_t seed) {
  std::vector<Trainee> out;
  const auto add = [&](Model model, double sparsity, bool dense) -> Trainee& {
    if (model.head.kind == HeadKind::none) {
      fail(ErrorKind::usage, "--mode train: found a model without a head; expected one that has a loss, e.g. ",
           head_architecture(HeadKind::sequence_classification));
    }
    out.push_back(trainee(backend, std::move(model), sparsity, dense, seed));
    return out.back();
  };
  const auto add_control = [&](Trainee& sparse) {
    if (control) add(masked_twin(backend, make, *sparse.model), sparse.sparsity, false);
  };
  if (sparsities.empty()) {
    Model stored = make();
    const bool dense = is_dense(stored);
    if (!dense) {
      Model twin = make();
      twin.visit_linears([&](const std::string&, Linear& linear) {
        linear.weight = std::make_shared<DenseWeight>(dense_copy(backend, *linear.weight));
      });
      add(std::move(twin), -1, true);
    }
    Trainee& sparse = add(std::move(stored), -1, dense);
    if (!dense) add_control(sparse);
  }
  for (const double sparsity : sparsities) {
    Model model = make();
    if (sparsity > 0) {
      model.visit_linears([&](const std::string&, Linear& linear) {
        linear.weight = CsrWeight::from_dense(backend, pruned_copy(backend, *linear.weight, sparsity)->tensor());
      });
    } else if (!is_dense(model)) {
      model.visit_linears([&](const std::string&, Linear& linear) {
        linear.weight = std::make_shared<DenseWeight>(dense_copy(backend, *linear.weight));
      });
    }
    Trainee& added = add(std::move(model), sparsity, sparsity == 0);
    if (sparsity > 0) add_control(added);
  }
  return out;
}

std::vector<BenchRow> time_training(Backend& backend, const MakeModel& make, std::vector<Trainee>& models,
                                    const std::vector<Texts>& texts, const BenchRuns& runs) {
  std::vector<Batch> batches;
  for (const Texts& t : texts) batches.push_back(random_batch(models.front().model->config, t, runs.seed, true));

  // 1. The check: loss and gradients of the sparse models against the same numbers under a mask.
  std::vector<Cell> cells;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    for (Trainee& trained : models) {
      Cell& cell = cells.emplace_back(Cell{&trained, t, 0, {}, {}});
      const bool sparse = trained.kernel.find("csr") != std::string::npos;
      if (sparse) cell.difference = checked_difference(backend, make, trained, batches[t], runs.seed);
    }
  }

  // 2. Updates, in turn.
  for (std::int64_t rep = -runs.warmup; rep < runs.reps; ++rep) {
    for (Cell& cell : cells) {
      OptimizerClock clock;
      const double ms = milliseconds([&] { update(*cell.trained, batches[cell.texts], kLearningRate, &clock); });
      if (rep < 0) continue;
      cell.times.push_back(ms);
      cell.optimizer_times.push_back(clock.ms());
    }
  }

  // 3. Rows.
  std::vector<BenchRow> rows;
  for (Cell& cell : cells) {
    const Timing timing = timing_of(std::move(cell.times));
    BenchRow& row = rows.emplace_back();
    row.sparsity = cell.trained->sparsity;
    row.texts = texts[cell.texts];
    row.threads = runs.threads;
    row.dtype = precision_of(backend);
    row.kernel = cell.trained->kernel;
    row.min_ms = timing.min_ms;
    row.median_ms = timing.median_ms;
    row.reps = runs.reps;
    row.max_difference = cell.difference;
    row.dense = cell.trained->dense;
    row.optimizer_ms = timing_of(std::move(cell.optimizer_times)).min_ms;
    row.arena = static_cast<std::int64_t>(cell.trained->step->arena().peak_bytes());
  }
  return rows;
}

}  // namespace bertx::tools
