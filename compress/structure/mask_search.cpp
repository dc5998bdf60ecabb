// Pruning without training (Kwon et al. 2022, 2204.09656): heads and neurons under one budget. The Fisher information
// of a gate on each of them, from gradients of a few texts at a time, says what its removal costs; first each gate by
// itself decides how many a layer keeps, then all gates of a layer together decide which; last, those that stay are
// rescaled. The budget counts multiplies, or milliseconds measured here.
#include <set>

#include "bertx/error.h"
#include "calibration/gates.h"
#include "structure/latency.h"
#include "structure/methods.h"
#include "structure/rescale.h"
#include "structure/search.h"

namespace bertx::compress {
namespace {

// Throws where heads and neurons have no cost and no columns of their own.
void expect_own_columns(Model& model, bool latency) {
  std::set<const Parameter*> seen;
  model.visit_linears([&](const std::string& path, Linear& linear) {
    const std::string_view kind = linear.weight->kind();
    if (kind != "dense" && kind != "masked" && (kind != "csr" || latency)) {
      fail(ErrorKind::usage, path, ": found a weight of kind ", kind, ", expected dense or masked",
           latency ? " with budget_of latency" : " or csr", ": mask_search takes models that are not factorised");
    }
    linear.weight->visit(path, [&](const std::string&, Parameter& parameter) {
      if (!seen.insert(&parameter).second) {
        fail(ErrorKind::usage, path,
             ": found a weight that is shared, expected one of its own: each layer loses other "
             "heads and neurons with mask_search");
      }
    });
  });
}

// [gradients, gates] of each layer; each gradient is the sum of those of some texts.
struct SummedGates {
  std::vector<Eigen::MatrixXd> heads, neurons;

  static Scores importance(const std::vector<Eigen::MatrixXd>& gates) {
    Scores scores;
    for (const Eigen::MatrixXd& layer : gates) {
      const Eigen::VectorXd squares = layer.colwise().squaredNorm().transpose();
      scores.emplace_back(squares.begin(), squares.end());
    }
    return scores;
  }
};

// The paper has 64 gradients of 32 texts each; fewer texts make 64 smaller groups.
SummedGates sum_gates(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size) {
  constexpr std::int64_t gradients = 64;
  const auto texts = static_cast<std::int64_t>(calibration.examples.size());
  const std::int64_t group = (texts + gradients - 1) / gradients, groups = (texts + group - 1) / group;
  SummedGates sums;
  for (const EncoderLayer& layer : model.layers) {
    sums.heads.push_back(Eigen::MatrixXd::Zero(groups, layer.shape.heads));
    sums.neurons.push_back(Eigen::MatrixXd::Zero(groups, layer.shape.ffn));
  }
  const auto add = [&](std::vector<Eigen::MatrixXd>& to) -> GatesSeen {
    return [&to, group](const GateGradients& seen) {
      Eigen::MatrixXd& sum = to[seen.layer];
      for (Eigen::Index gate = 0; gate < sum.cols(); ++gate) {
        for (std::int64_t b = 0; b < seen.segments; ++b) {
          sum((seen.first + b) / group, gate) += seen.values[static_cast<std::size_t>(gate * seen.segments + b)];
        }
      }
    };
  };
  run_gates(backend, model, calibration, batch_size, false, add(sums.heads), add(sums.neurons));
  return sums;
}

// Of a text of mean length. In sparse matrices heads and neurons count as the mean of all of them.
PartCosts multiplies_of_parts(const Model& model, const Calibration& calibration) {
  double tokens = 0, heads = 0, neurons = 0;
  for (const EncodedExample& example : calibration.examples) tokens += static_cast<double>(example.ids.size());
  tokens /= static_cast<double>(calibration.examples.size());
  std::int64_t most_heads = 0, most_neurons = 0;
  for (const EncoderLayer& layer : model.layers) {
    for (const Linear* map : {&layer.query, &layer.key, &layer.value, &layer.attention_output})
      heads += static_cast<double>(map->weight->multiplies()) * tokens;
    heads += static_cast<double>(2 * layer.shape.heads * layer.shape.head_dim) * tokens * tokens;  // Qᵀ K and V P
    for (const Linear* map : {&layer.ffn_in, &layer.ffn_out})
      neurons += static_cast<double>(map->weight->multiplies()) * tokens;
    most_heads = std::max(most_heads, layer.shape.heads);
    most_neurons = std::max(most_neurons, layer.shape.ffn);
  }
  const auto each = [](double all, std::int64_t count) { return count == 0 ? 0.0 : all / static_cast<double>(count); };
  return {even_costs(each(heads, count_parts(model, &LayerShape::heads)), most_heads),
          even_costs(each(neurons, count_parts(model, &LayerShape::ffn)), most_neurons)};
}

}  // namespace

void mask_search_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  // 1. What each part is worth, and what it costs.
  const bool latency = recipe.budget_of == "latency";
  expect_own_columns(model, latency);
  const Calibration used = sample(calibration, recipe);
  const SummedGates gates = sum_gates(backend, model, used, recipe.calibration_batch);
  const PartCosts costs = latency ? measure_part_latency(backend, model) : multiplies_of_parts(model, used);
  KeptParts all_heads, all_neurons;
  for (const EncoderLayer& layer : model.layers) {
    all_heads.emplace_back(static_cast<std::size_t>(layer.shape.heads), true);
    all_neurons.emplace_back(static_cast<std::size_t>(layer.shape.ffn), true);
  }

  // 2. How many of each layer stay, then which.
  FoundParts found = search_parts(SummedGates::importance(gates.heads), SummedGates::importance(gates.neurons), costs,
                                  recipe.budget * cost_of(costs, all_heads, all_neurons));
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    rearrange(gates.heads[i], found.heads[i]);
    rearrange(gates.neurons[i], found.neurons[i]);
  }

  // 3. They are cut out, and the others rescaled.
  const EncoderBefore before(model);
  try {
    keep_heads(backend, model, found.heads);
    keep_neurons(backend, model, found.neurons);
    if (recipe.rescale) rescale_parts(backend, model, before.layers(), used, recipe.calibration_batch);
  } catch (...) {
    before.restore(backend, model);
    throw;
  }
}

}  // namespace bertx::compress
