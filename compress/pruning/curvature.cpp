#include "pruning/curvature.h"

#include <algorithm>
#include <deque>

#include "calibration/dense_for_gradients.h"
#include "pruning/fisher.h"
#include "weights/host_copy.h"

namespace bertx::compress {
namespace {

constexpr std::int64_t gradients_at_a_time = 16;  // kept until they are added to the Fisher matrices

// One matrix that is pruned.
struct Part {
  MaskedWeight* weight = nullptr;
  std::vector<float> values;        // W∘M [out · in]
  std::vector<std::uint8_t> alive;  // of these, what has not gone before
  std::vector<float> scores;
  std::vector<std::uint8_t> kept;
  std::int64_t size() const { return static_cast<std::int64_t>(values.size()); }
};

std::vector<Part> parts_of(Backend& backend, Model& model) {
  std::vector<Part> parts;
  for (const MaskedMatrix& matrix : masked_matrices(model)) {
    Part part;
    part.weight = matrix.weight;
    const Storage dense = make_storage(backend, matrix.weight->out(), matrix.weight->in(), backend.real());
    matrix.weight->materialize(backend, dense.tensor);
    part.values = downloaded<float>(backend, dense.tensor);
    for (const float w : part.values) part.alive.push_back(w != 0.0f);
    part.scores.resize(part.values.size());
    part.kept.resize(part.values.size());
    parts.push_back(std::move(part));
  }
  return parts;
}

// ---- gradients ------------------------------------------------------------------------------------------------------

struct Texts {
  std::vector<EncodedExample> examples;
  LabelKind kind;
  std::int64_t per_gradient = 1, gradients = 0;
};

Texts draw_texts(const Calibration& calibration, const Recipe& recipe, std::uint64_t draw) {
  const auto count = static_cast<std::int64_t>(calibration.examples.size());
  const std::int64_t used = std::min(count, recipe.calibration_samples);
  const std::vector<std::int64_t> order = Sampler(count, recipe.seed + draw).epoch(0);
  Texts texts{{}, calibration.kind, (used + recipe.fisher_gradients - 1) / recipe.fisher_gradients, 0};
  for (std::int64_t i = 0; i < used; ++i) {
    texts.examples.push_back(calibration.examples[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  }
  texts.gradients = used == 0 ? 0 : (used + texts.per_gradient - 1) / texts.per_gradient;
  return texts;
}

// The last few gradients of some matrices, as floats on the host.
class GradientRows {
 public:
  GradientRows(Backend& backend, DenseForGradients& dense, std::span<const Part> parts)
      : backend_(backend), direct_(backend.host_memory() && backend.real() == DType::f32) {
    for (const Part& part : parts) {
      parameters_.push_back(&dense.parameter(*part.weight));
      rows_.emplace_back(static_cast<std::size_t>(gradients_at_a_time * part.size()));
      const Tensor w = parameters_.back()->tensor();
      if (!direct_) parameters_.back()->grad = make_storage(backend, w.rows, w.cols, w.dtype);
    }
  }
  ~GradientRows() {
    for (Parameter* parameter : parameters_) parameter->grad = {};
  }
  GradientRows(const GradientRows&) = delete;
  GradientRows& operator=(const GradientRows&) = delete;

  // The gradients of the next pass go to row k, where the backend can write there itself.
  void begin(std::int64_t k) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Parameter& p = *parameters_[i];
      if (direct_) p.grad.tensor = row(i, k);
      backend_.fill(p.gradient(), 0.0);
    }
  }
  void end(std::int64_t k) {
    if (direct_) return;
    for (std::size_t i = 0; i < parameters_.size(); ++i) backend_.download(parameters_[i]->gradient(), row(i, k));
  }
  const float* data(std::size_t part, std::int64_t k) const {
    return rows_[part].data() + k * parameters_[part]->tensor().size();
  }

 private:
  Tensor row(std::size_t i, std::int64_t k) {
    const Tensor w = parameters_[i]->tensor();
    return view(rows_[i].data() + k * w.size(), w.rows, w.cols, DType::f32);
  }

  Backend& backend_;
  bool direct_;
  std::vector<Parameter*> parameters_;
  std::vector<std::vector<float>> rows_;
};

// ---- the Fisher matrices of some matrices
// -----------------------------------------------------------------------------

std::deque<BlockFisher> estimate(Backend& backend, Model& model, const Recipe& recipe, const Texts& texts,
                                 std::span<const Part> parts) {
  std::deque<BlockFisher> fishers;
  for (const Part& part : parts) fishers.emplace_back(part.size(), recipe.block_size.value_or(50));
  DenseForGradients dense(backend, model);
  GradientRows rows(backend, dense, parts);
  std::vector<float> scales;  // of a sum over texts to their mean
  const auto add = [&] {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      std::vector<const float*> gradients;
      for (std::size_t k = 0; k < scales.size(); ++k) gradients.push_back(rows.data(i, static_cast<std::int64_t>(k)));
      fishers[i].add(gradients, scales, parts[i].alive.data());
    }
    scales.clear();
  };
  run_backward(
      backend, model, {texts.examples, texts.kind}, texts.per_gradient, nullptr,
      [&](const Pass&) { rows.begin(static_cast<std::int64_t>(scales.size())); },
      [&](const Pass& pass) {
        rows.end(static_cast<std::int64_t>(scales.size()));
        scales.push_back(1.0f / static_cast<float>(pass.batch.sequences()));
        if (static_cast<std::int64_t>(scales.size()) == gradients_at_a_time) add();
      });
  add();
  for (BlockFisher& fisher : fishers) fisher.invert(texts.gradients, recipe.damp.value_or(1e-7));
  return fishers;
}

// Successive parts whose Fisher matrices and gradients fit into the memory; one at least.
std::vector<std::span<Part>> groups_of(std::span<Part> parts, const Recipe& recipe) {
  std::vector<std::span<Part>> groups;
  const std::size_t most = static_cast<std::size_t>(recipe.fisher_memory) << 20;
  for (std::size_t first = 0; first < parts.size();) {
    std::size_t last = first, bytes = 0;
    while (last < parts.size()) {
      bytes += BlockFisher::bytes(parts[last].size(), recipe.block_size.value_or(50)) +
               static_cast<std::size_t>(gradients_at_a_time * parts[last].size()) * sizeof(float);
      if (last > first && bytes > most) break;
      ++last;
    }
    groups.push_back(parts.subspan(first, last - first));
    first = last;
  }
  return groups;
}

}  // namespace

void prune_by_curvature(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
                        double sparsity, std::uint64_t draw) {
  std::vector<Part> parts = parts_of(backend, model);
  const Texts texts = draw_texts(calibration, recipe, draw);
  const std::vector<std::span<Part>> groups = groups_of(parts, recipe);

  // 1. Scores of all.
  std::deque<BlockFisher> fishers;
  for (const std::span<Part> group : groups) {
    fishers.clear();
    fishers = estimate(backend, model, recipe, texts, group);
    for (std::size_t i = 0; i < group.size(); ++i) {
      fishers[i].scores(group[i].values.data(), group[i].scores.data());
      for (std::size_t n = 0; n < group[i].scores.size(); ++n) {
        if (!group[i].alive[n]) group[i].scores[n] = -1.0f;
      }
    }
  }

  // 2. What goes.
  std::vector<Candidates> candidates;
  for (Part& part : parts) {
    candidates.push_back({part.scores.data(), part.kept.data(), part.weight->out(), part.weight->in()});
  }
  select(candidates, sparsity, selection_of(recipe, Scope::global), Key::value);

  // 3. What stays. The last group's Fisher matrices are there still; the model is as it was for all of them.
  for (std::size_t g = groups.size(); g-- > 0;) {
    const std::span<Part> group = groups[g];
    if (g + 1 < groups.size()) {
      fishers.clear();
      fishers = estimate(backend, model, recipe, texts, group);
    }
    for (std::size_t i = 0; i < group.size(); ++i) {
      std::vector<std::uint8_t> gone(group[i].kept.size());
      for (std::size_t n = 0; n < gone.size(); ++n) {
        group[i].kept[n] &= group[i].alive[n];
        gone[n] = group[i].alive[n] && !group[i].kept[n];
      }
      fishers[i].prune(gone.data(), group[i].values.data());
    }
  }
  for (Part& part : parts) {
    const Tensor w = part.weight->parameter()->tensor();
    if (w.size() > 0) backend.upload(view(part.values.data(), w.rows, w.cols, DType::f32), w);
    change_mask(backend, *part.weight, [&](std::uint8_t* mask, std::int64_t) { std::ranges::copy(part.kept, mask); });
  }
}

}  // namespace bertx::compress
