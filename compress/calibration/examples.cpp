#include "calibration/examples.h"

#include <algorithm>
#include <numeric>

namespace bertx::compress {
namespace {

// batch(first example, batch) for all examples in turn.
void for_batches(const Model& model, const Calibration& calibration, std::int64_t batch_size,
                 const std::function<void(std::int64_t first, const Batch&)>& run) {
  const auto count = static_cast<std::int64_t>(calibration.examples.size());
  const auto outputs = static_cast<std::int64_t>(model.config.labels.size());
  for (std::int64_t first = 0; first < count; first += batch_size) {
    std::vector<std::int64_t> indices(static_cast<std::size_t>(std::min(batch_size, count - first)));
    std::iota(indices.begin(), indices.end(), first);
    run(first, collate(calibration.examples, indices, calibration.kind, outputs));
  }
}

}  // namespace

Calibration sample(const Calibration& calibration, const Recipe& recipe) {
  const auto most = static_cast<std::size_t>(recipe.calibration_samples);
  return {calibration.examples.first(std::min(calibration.examples.size(), most)), calibration.kind};
}

void run_backward(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                  const ContextProbe* probe, const std::function<void(const Pass&)>& before,
                  const std::function<void(const Pass&)>& after) {
  Arena arena(backend);
  for_batches(model, calibration, batch_size, [&](std::int64_t first, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    exec.probe = probe;
    Model::Saved saved;
    const Tensor logits = model.forward(exec, batch, &saved);
    const Tensor dlogits = exec.take(logits.rows, logits.cols);
    // Times the batch size: the gradient of each example's own loss, not of their mean.
    model.loss(exec, batch, logits, static_cast<double>(batch.sequences()), dlogits);
    const Pass pass{batch, saved.starts, first};
    if (before) before(pass);
    model.backward(exec, batch, saved, dlogits);
    if (after) after(pass);
  });
}

namespace {

// Stands in a Linear for another weight and shows what comes in. Forward only.
class SeeingWeight final : public LinearWeight {
 public:
  SeeingWeight(std::shared_ptr<LinearWeight> weight, std::function<void(Tensor x)> seen)
      : weight_(std::move(weight)), seen_(std::move(seen)) {}
  std::int64_t out() const override { return weight_->out(); }
  std::int64_t in() const override { return weight_->in(); }
  std::string_view kind() const override { return weight_->kind(); }
  void apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const override {
    seen_(x);
    weight_->apply(exec, x, y, epilogue);
  }
  void apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) override {
    weight_->apply_grad(exec, x, dy, dx, write);
  }
  void visit(const std::string& path, const Visit& parameter) override { weight_->visit(path, parameter); }
  void materialize(Backend& backend, Tensor out_matrix) const override { weight_->materialize(backend, out_matrix); }
  std::int64_t multiplies() const override { return weight_->multiplies(); }
  std::int64_t nonzeros(Backend& backend) const override { return weight_->nonzeros(backend); }
  std::string kernel() const override { return weight_->kernel(); }
  const std::shared_ptr<LinearWeight>& weight() const { return weight_; }

 private:
  std::shared_ptr<LinearWeight> weight_;
  std::function<void(Tensor x)> seen_;
};

// The model's linear maps show their inputs while this lives.
class Seeing {
 public:
  Seeing(Backend& backend, Model& model, const InputSeen& seen) : model_(model) {
    model.refresh(backend);  // stacked products would go past the single maps
    model.visit_linears([&](const std::string& path, Linear& linear) {
      linear.weight =
          std::make_shared<SeeingWeight>(linear.weight, [&linear, path, seen](Tensor x) { seen(path, linear, x); });
    });
  }
  ~Seeing() {
    model_.visit_linears([](const std::string&, Linear& linear) {
      linear.weight = static_cast<SeeingWeight&>(*linear.weight).weight();
    });
  }

 private:
  Model& model_;
};

}  // namespace

void run_inputs(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen) {
  const Seeing seeing(backend, model, seen);
  Arena arena(backend);
  for_batches(model, calibration, batch_size, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    model.forward(exec, batch);
  });
}

}  // namespace bertx::compress
