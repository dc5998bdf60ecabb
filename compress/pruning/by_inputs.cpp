#include "pruning/by_inputs.h"

#include <unordered_map>
#include <unordered_set>

#include "bertx/error.h"
#include "calibration/layer_by_layer.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

class InputMeter {
 public:
  InputMeter(Backend& backend, Measure measure) : backend_(backend), measure_(measure) {}

  // x [in, T]
  void add(const MaskedWeight& weight, Tensor x) {
    InputSums& sums = sums_[&weight];
    sums.tokens += x.cols;
    sums.squares.resize(static_cast<std::size_t>(x.rows));
    if (measure_ == Measure::gram) {
      if (sums.gram.tensor.empty()) sums.gram = make_storage(backend_, x.rows, x.rows, backend_.real());
      backend_.gemm(Trans::no, Trans::yes, x, x, sums.gram.tensor, Write::add);
      return;
    }
    const std::vector<float> host = downloaded<float>(backend_, x);
    const float* row = host.data();
    for (double& square : sums.squares) {
      for (std::int64_t t = 0; t < x.cols; ++t) square += static_cast<double>(row[t]) * static_cast<double>(row[t]);
      row += x.cols;
    }
  }

  InputSums take(const MaskedWeight& weight) {
    InputSums sums = std::move(sums_[&weight]);
    sums_.erase(&weight);
    sums.squares.resize(static_cast<std::size_t>(weight.in()));
    if (measure_ == Measure::gram && sums.gram.tensor.empty()) {
      sums.gram = make_storage(backend_, weight.in(), weight.in(), backend_.real());
    }
    return sums;
  }

 private:
  Backend& backend_;
  Measure measure_;
  std::unordered_map<const MaskedWeight*, InputSums> sums_;
};

}  // namespace

void prune_by_inputs(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
                     Measure measure, const PruneMatrix& prune) {
  model.visit_linears([](const std::string& path, Linear& linear) {
    for (const std::string_view kind : {"dense", "csr", "masked"}) {
      if (linear.weight->kind() == kind) return;
    }
    fail(ErrorKind::usage, path, ": found a weight of kind ", linear.weight->kind(),
         ", expected dense or csr to prune by what comes in");
  });
  mask_weights(backend, model, false);
  const Calibration used = sample(calibration, recipe);
  const std::vector<MaskedMatrix> matrices = masked_matrices(model);
  const Selection how = selection_of(recipe);
  std::vector<MatrixShape> shapes;
  for (const MaskedMatrix& matrix : matrices) shapes.push_back({matrix.weight->out(), matrix.weight->in()});
  const std::vector<std::int64_t> kept =
      kept_counts(shapes, final_sparsity(recipe), how.distribution, how.sensitivities);
  std::unordered_map<const MaskedWeight*, double> sparsity;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const auto size = static_cast<double>(std::max<std::int64_t>(1, shapes[i].size()));
    sparsity[matrices[i].weight] =
        how.distribution == Distribution::uniform ? final_sparsity(recipe) : 1.0 - static_cast<double>(kept[i]) / size;
  }

  // While inputs are shown the maps hold other weights.
  std::unordered_map<const Linear*, MaskedWeight*> weight_of;
  std::int64_t maps = 0;
  model.visit_linears([&](const std::string&, Linear& linear) {
    weight_of[&linear] = static_cast<MaskedWeight*>(linear.weight.get());
    ++maps;
  });
  InputMeter meter(backend, measure);
  const InputSeen seen = [&](const std::string&, Linear& linear, Tensor x) { meter.add(*weight_of[&linear], x); };
  const auto prune_one = [&](MaskedWeight& weight) { prune(weight, meter.take(weight), sparsity[&weight]); };

  if (static_cast<std::size_t>(maps) != matrices.size()) {
    run_inputs(backend, model, used, recipe.calibration_batch, seen);
    for (const MaskedMatrix& matrix : matrices) prune_one(*matrix.weight);
    return;
  }
  run_layers(backend, model, used, recipe.calibration_batch, seen, [&](std::size_t layer) {
    model.layers[layer].visit_linears(
        "", [&](const std::string&, Linear& linear) { prune_one(static_cast<MaskedWeight&>(*linear.weight)); });
  });
}

void MaskAtBeginning::begin(Backend& backend, Model& model, const TrainState& state) {
  if (!state.resumed) mask_(backend, model, recipe_, calibration_);
  share_ = masked_share(backend, model);
}

void MaskAtBeginning::finish(Backend& backend, Model& model, const TrainState&) { finalize_masks(backend, model); }

}  // namespace bertx::compress
