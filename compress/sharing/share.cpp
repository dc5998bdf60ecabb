// Layers that share their weights: ALBERT (Lan et al. 2020, 1909.11942), with groups of layers and parts to share as
// in its appendix; from a trained model as in relaxed recursive transformers (Bae et al. 2024, 2410.20672), with a low
// rank of W_l − W̄ that each layer keeps for itself. Sharing saves storage, gradients and moments, no multiplies.
//
// Without repair all of a shared block is one: matrices, biases and LayerNorm, as in ALBERT. With repair biases and
// LayerNorms stay each layer's own, so that the full rank gives back the model as it was.
#include <algorithm>
#include <functional>
#include <optional>

#include "bertx/error.h"
#include "bertx/sum_weight.h"
#include "factorization/decompose.h"
#include "sharing/methods.h"

namespace bertx::compress {
namespace {

/// What the layers of a group have in common: the attention block or the feed-forward block.
struct Block {
  std::string_view name;
  std::vector<Linear EncoderLayer::*> linears;
  LayerNorm EncoderLayer::*norm;
};

std::vector<Block> blocks_of(const Recipe& recipe) {
  const Block attention{
      "attention",
      {&EncoderLayer::query, &EncoderLayer::key, &EncoderLayer::value, &EncoderLayer::attention_output},
      &EncoderLayer::attention_norm};
  const Block ffn{"ffn", {&EncoderLayer::ffn_in, &EncoderLayer::ffn_out}, &EncoderLayer::output_norm};
  if (recipe.share == "attention") return {attention};
  if (recipe.share == "ffn") return {ffn};
  return {attention, ffn};
}

/// One group: its layers, and those that its weights come from.
struct Group {
  std::vector<std::size_t> layers, sources;
};

// Layer l of L is in group int(l / L · groups).
std::vector<Group> groups_of(const Recipe& recipe, std::size_t layers) {
  const auto count = static_cast<std::size_t>(recipe.groups);
  if (count >= layers) {
    fail(ErrorKind::usage, "groups: found ", count, ", expected fewer than the model's ", layers,
         " layers: each would be alone in its group");
  }
  std::vector<Group> groups(count);
  for (std::size_t l = 0; l < layers; ++l) groups[l * count / layers].layers.push_back(l);
  for (std::size_t g = 0; g < count; ++g) {
    if (recipe.tie == "average") {
      groups[g].sources = groups[g].layers;
    } else if (recipe.tie == "stepwise") {  // at equal distances, with the first layer and the last
      groups[g].sources = {count == 1 ? 0 : (2 * g * (layers - 1) + count - 1) / (2 * (count - 1))};
    } else if (recipe.tie == "lower") {
      groups[g].sources = {g};
    } else {  // of a new model
      groups[g].sources = {groups[g].layers.front()};
    }
  }
  return groups;
}

void check_shapes(const Model& model, const Group& group, const Block& block) {
  const auto at = [&](std::size_t l, std::size_t n) -> const LinearWeight& {
    return *(model.layers[l].*block.linears[n]).weight;
  };
  std::vector<std::size_t> all = group.layers;
  all.insert(all.end(), group.sources.begin(), group.sources.end());
  const std::size_t first = all.front();
  for (const std::size_t l : all) {
    for (std::size_t n = 0; n < block.linears.size(); ++n) {
      if (at(l, n).out() == at(first, n).out() && at(l, n).in() == at(first, n).in()) continue;
      fail(ErrorKind::usage, "share: layers ", first, " and ", l, " are to have one ", block.name, ", found matrices [",
           at(first, n).out(), ", ", at(first, n).in(), "] and [", at(l, n).out(), ", ", at(l, n).in(),
           "]; expected layers of one shape (other --groups, or --share what was not cut)");
    }
  }
}

void check_repair(const Model& model, const Recipe& recipe, const std::vector<Block>& blocks) {
  if (recipe.repair_rank > 0 && recipe.tie == "scratch") {
    fail(ErrorKind::usage, "repair_rank: found ", recipe.repair_rank,
         ", expected 0 with --tie scratch: new weights repair no old ones");
  }
  for (const EncoderLayer& layer : model.layers) {
    for (const Block& block : blocks) {
      for (const auto linear : block.linears) {
        const LinearWeight& weight = *(layer.*linear).weight;
        const std::int64_t full = std::min(weight.out(), weight.in());
        if (recipe.repair_rank <= full) continue;
        fail(ErrorKind::usage, "repair_rank: found ", recipe.repair_rank, ", expected at most ", full,
             ", the full rank of a matrix [", weight.out(), ", ", weight.in(), "]");
      }
    }
  }
}

// ---- what is shared -------------------------------------------------------------------------------------------------

/// What the layers of a group use of one block; the vectors are null where each layer keeps its own.
struct Shared {
  std::vector<std::shared_ptr<LinearWeight>> weights;  ///< as Block::linears
  std::vector<std::shared_ptr<Parameter>> biases;
  std::shared_ptr<Parameter> gamma, beta;
};

// The weight of the source where there is one, of whatever kind; else the mean. The mean of pruned weights is a sparse
// one with zeros where all of them have.
std::shared_ptr<LinearWeight> mean_weight(Backend& backend, const Model& from, const std::vector<std::size_t>& sources,
                                          Linear EncoderLayer::*linear) {
  const auto at = [&](std::size_t l) { return (from.layers[l].*linear).weight; };
  if (sources.size() == 1) return at(sources.front());
  Matrix sum = matrix_of(backend, *at(sources.front()));
  bool sparse = at(sources.front())->kind() == "csr";
  for (std::size_t n = 1; n < sources.size(); ++n) {
    sum += matrix_of(backend, *at(sources[n]));
    sparse = sparse && at(sources[n])->kind() == "csr";
  }
  const auto mean = parameter_of(backend, sum / static_cast<double>(sources.size()));
  if (!sparse) return std::make_shared<DenseWeight>(mean);
  return CsrWeight::from_dense(backend, mean->tensor());
}

// The same of biases, gamma or beta; `at` finds the vector in a layer.
std::shared_ptr<Parameter> mean_vector(Backend& backend, const Model& from, const std::vector<std::size_t>& sources,
                                       const std::function<std::shared_ptr<Parameter>(const EncoderLayer&)>& at) {
  const std::shared_ptr<Parameter> first = at(from.layers[sources.front()]);
  if (sources.size() == 1) return first;
  Matrix sum = matrix_of(backend, first->tensor());
  for (std::size_t n = 1; n < sources.size(); ++n) sum += matrix_of(backend, at(from.layers[sources[n]])->tensor());
  auto mean = parameter_of(backend, sum / static_cast<double>(sources.size()));
  mean->decay = first->decay;
  mean->frozen = first->frozen;
  return mean;
}

Shared shared_of(Backend& backend, const Model& from, const Group& group, const Block& block, bool vectors) {
  Shared shared;
  for (const auto linear : block.linears) {
    shared.weights.push_back(mean_weight(backend, from, group.sources, linear));
    if (!vectors) continue;
    shared.biases.push_back(
        mean_vector(backend, from, group.sources, [&](const EncoderLayer& layer) { return (layer.*linear).bias; }));
  }
  if (vectors) {
    const auto norm = block.norm;
    shared.gamma = mean_vector(backend, from, group.sources, [&](const auto& layer) { return (layer.*norm).gamma; });
    shared.beta = mean_vector(backend, from, group.sources, [&](const auto& layer) { return (layer.*norm).beta; });
  }
  return shared;
}

// W̄ + U V with U V the best low rank of W_l − W̄.
std::shared_ptr<LinearWeight> repaired(Backend& backend, const LinearWeight& own,
                                       const std::shared_ptr<LinearWeight>& shared, std::int64_t rank) {
  const Matrix difference = matrix_of(backend, own) - matrix_of(backend, *shared);
  return std::make_shared<SumWeight>(
      shared, low_rank_weight(backend, truncate(difference, decompose(difference, plain_metric()), rank)));
}

void put(Backend& backend, EncoderLayer& layer, const Block& block, const Shared& shared, std::int64_t repair_rank) {
  for (std::size_t n = 0; n < block.linears.size(); ++n) {
    Linear& linear = layer.*block.linears[n];
    if (repair_rank > 0) {
      linear.weight = repaired(backend, *linear.weight, shared.weights[n], repair_rank);
    } else {
      linear = {shared.weights[n], shared.biases[n]};
    }
  }
  if (repair_rank == 0) (layer.*block.norm).gamma = shared.gamma, (layer.*block.norm).beta = shared.beta;
}

}  // namespace

void share_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration&) {
  const std::vector<Group> groups = groups_of(recipe, model.layers.size());
  const std::vector<Block> blocks = blocks_of(recipe);
  for (const Group& group : groups) {
    for (const Block& block : blocks) check_shapes(model, group, block);
  }
  check_repair(model, recipe, blocks);

  // 1. All that is shared, before the first layer changes: a group's source may lie in another group.
  std::optional<Model> random;
  if (recipe.tie == "scratch") random = make_model(backend, model.config, recipe.seed);
  std::vector<std::vector<Shared>> shared(groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const Block& block : blocks) {
      shared[g].push_back(shared_of(backend, random ? *random : model, groups[g], block, recipe.repair_rank == 0));
    }
  }

  // 2. Into the layers. What one layer has for itself needs no repair.
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (recipe.repair_rank > 0 && groups[g].layers.size() == 1) continue;
    for (const std::size_t l : groups[g].layers) {
      for (std::size_t b = 0; b < blocks.size(); ++b)
        put(backend, model.layers[l], blocks[b], shared[g][b], recipe.repair_rank);
    }
  }
  model.refresh(backend);
}

}  // namespace bertx::compress
