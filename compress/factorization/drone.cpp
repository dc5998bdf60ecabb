// Factors that are best for what comes in (Chen et al. 2021, "DRONE: Data-aware Low-rank Compression for Large NLP
// Models", NeurIPS): the metric is C = E[x xᵀ] of the inputs x, so that E ‖(W − W̃) x‖² is least. The layers take turns
// from the first: each is measured behind those that were factorised before it, so that it makes up for what comes out
// of them. Where layers share a matrix all are measured on the model as it was.
#include <unordered_map>

#include "calibration/layer_by_layer.h"
#include "factorization/factorizer.h"
#include "factorization/methods.h"

namespace bertx::compress {
namespace {

/// Σ x xᵀ of the inputs of each target.
class Grams {
 public:
  Grams(Backend& backend, const Factorizer& factorizer)
      : backend_(backend), factorizer_(factorizer), sums_(factorizer.targets().size()) {}

  // x [in, T]
  void add(const Linear& linear, Tensor x) {
    const Target* const target = factorizer_.target_of(linear);
    if (!target) return;
    Storage& sum = sums_[factorizer_.index_of(*target)];
    if (sum.tensor.empty()) sum = make_storage(backend_, x.rows, x.rows, backend_.real());
    backend_.gemm(Trans::no, Trans::yes, x, x, sum.tensor, Write::add);
  }

  // The sum is forgotten: those of one layer are as large as its weights.
  Metric take(const Target& target) {
    Storage& sum = sums_[factorizer_.index_of(target)];
    if (sum.tensor.empty()) sum = make_storage(backend_, target.cost.in, target.cost.in, backend_.real());
    Matrix c = matrix_of(backend_, sum.tensor);
    sum = {};
    return [c = std::move(c)](const Matrix& a) -> Matrix { return a * c * a.transpose(); };
  }

 private:
  Backend& backend_;
  const Factorizer& factorizer_;
  std::vector<Storage> sums_;
};

}  // namespace

void drone_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  Factorizer factorizer(backend, model, recipe);
  Grams grams(backend, factorizer);
  const Calibration used = sample(calibration, recipe);
  const InputSeen seen = [&](const std::string&, Linear& linear, Tensor x) { grams.add(linear, x); };
  if (factorizer.layers_share()) {
    run_inputs(backend, model, used, recipe.calibration_batch, seen);
    for (const Target& target : factorizer.targets()) factorizer.factorize(target, grams.take(target));
  } else {
    run_layers(backend, model, used, recipe.calibration_batch, seen, [&](std::size_t layer) {
      for (const Target& target : factorizer.targets()) {
        if (target.layers.front() == layer) factorizer.factorize(target, grams.take(target));
      }
    });
  }
  factorizer.keep();
}

}  // namespace bertx::compress
