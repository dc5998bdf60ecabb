#include "pruning/sensitivity.h"

#include "io/json.h"

namespace bertx::compress {
namespace {

constexpr double probed[] = {0.5, 0.7, 0.8, 0.9, 0.95, 1.0};

double mean_loss(Backend& backend, const Model& model, const Recipe& recipe, const Calibration& calibration) {
  Arena arena(backend);
  double sum = 0;
  for_batches(model, calibration, recipe.calibration_batch, [&](std::int64_t, const Batch& batch) {
    arena.reset();
    Exec exec{backend, arena};
    const Tensor logits = model.forward(exec, batch);
    sum += model.loss(exec, batch, logits) * static_cast<double>(batch.sequences());
  });
  return sum / static_cast<double>(std::max<std::size_t>(1, calibration.examples.size()));
}

std::vector<Storage> masks_of(Backend& backend, std::span<const MaskedMatrix> matrices) {
  std::vector<Storage> masks;
  for (const MaskedMatrix& matrix : matrices) {
    const Tensor mask = matrix.weight->mask().tensor;
    masks.push_back(make_storage(backend, mask.rows, mask.cols, mask.dtype));
    backend.copy(mask, masks.back().tensor);
  }
  return masks;
}

void set_mask(Backend& backend, MaskedWeight& weight, const Storage& mask) {
  backend.copy(mask.tensor, weight.mask().tensor);
  weight.refresh(backend);
}

}  // namespace

std::vector<Sensitivity> measure_sensitivities(Backend& backend, Model& model, const Recipe& recipe,
                                               const Calibration& calibration, const RankMasks& rank) {
  const Calibration used = sample(calibration, recipe);
  const std::vector<MaskedMatrix> matrices = masked_matrices(model);
  const std::vector<Storage> original = masks_of(backend, matrices);
  Selection alone = selection_of(recipe);
  alone.distribution = Distribution::uniform;
  model.refresh(backend);
  const double before = mean_loss(backend, model, recipe, used);
  std::vector<Sensitivity> found(matrices.size(), Sensitivity{{0.0, 0.0}});
  for (const double sparsity : probed) {
    rank(backend, model, sparsity, alone, recipe);
    const std::vector<Storage> pruned = masks_of(backend, matrices);
    for (std::size_t i = 0; i < matrices.size(); ++i) set_mask(backend, *matrices[i].weight, original[i]);
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      set_mask(backend, *matrices[i].weight, pruned[i]);
      found[i].push_back({sparsity, mean_loss(backend, model, recipe, used) - before});
      set_mask(backend, *matrices[i].weight, original[i]);
    }
  }
  return found;
}

void MeasuredSelection::measure(Backend& backend, Model& model, const RankMasks& rank) {
  if (how_.distribution != Distribution::sensitivity) return;
  how_.sensitivities = measure_sensitivities(backend, model, recipe_, calibration_, rank);
}

std::string MeasuredSelection::save() const {
  if (how_.distribution != Distribution::sensitivity) return "{}";
  nlohmann::json losses = nlohmann::json::array();
  for (const Sensitivity& matrix : how_.sensitivities) {
    losses.push_back(nlohmann::json::array());
    for (std::size_t i = 1; i < matrix.size(); ++i) losses.back().push_back(matrix[i].loss);
  }
  return nlohmann::json{{"sensitivities", losses}}.dump();
}

void MeasuredSelection::load(const std::string& json) {
  if (how_.distribution != Distribution::sensitivity) return;
  const nlohmann::json state = parse_json_text(json, "state of the pruning");
  const JsonObject object(state, "state of the pruning");
  constexpr std::string_view key = "sensitivities", expected = "six losses for each matrix";
  how_.sensitivities.clear();
  for (const nlohmann::json& losses : object.at(key)) {
    if (!losses.is_array() || losses.size() != std::size(probed)) object.fail_at(key, expected);
    Sensitivity matrix{{0.0, 0.0}};
    for (std::size_t i = 0; i < std::size(probed); ++i) {
      if (!losses[i].is_number()) object.fail_at(key, expected);
      matrix.push_back({probed[i], losses[i].get<double>()});
    }
    how_.sensitivities.push_back(std::move(matrix));
  }
}

}  // namespace bertx::compress
