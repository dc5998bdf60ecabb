#include "structure/rounds.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "bertx/error.h"
#include "calibration/metric.h"

namespace bertx::compress {
namespace {

// All but the `count` parts with the smallest scores; of equal ones the lower layer's go first.
KeptParts without_least(const Scores& scores, std::int64_t count) {
  struct Place {
    std::size_t layer, part;
    double score;
  };
  std::vector<Place> all;
  KeptParts keep;
  for (std::size_t layer = 0; layer < scores.size(); ++layer) {
    keep.emplace_back(scores[layer].size(), true);
    for (std::size_t part = 0; part < scores[layer].size(); ++part) all.push_back({layer, part, scores[layer][part]});
  }
  std::ranges::stable_sort(all, {}, &Place::score);
  for (std::int64_t n = 0; n < count; ++n) {
    const Place& place = all[static_cast<std::size_t>(n)];
    keep[place.layer][place.part] = false;
  }
  return keep;
}

// The metric that must not fall below a floor.
class Floor {
 public:
  Floor(Backend& backend, const Model& model, const Recipe& recipe, const Calibration& calibration)
      : backend_(backend), recipe_(recipe), calibration_(calibration) {
    if (!recipe.metric_floor) return;
    metric_ = metric_to_hold(calibration, "metric_floor");
    const double before = measure(model);
    if (!(before >= *recipe.metric_floor)) {
      fail(ErrorKind::usage, "metric_floor: found ", *recipe.metric_floor, ", expected at most ", before, ", the ",
           metric_, " of the model as it is on the ", calibration.examples.size(), " texts that it is measured on");
    }
  }
  bool holds(const Model& model) const { return !recipe_.metric_floor || measure(model) >= *recipe_.metric_floor; }

 private:
  double measure(const Model& model) const {
    return measure_metric(backend_, model, calibration_, recipe_.calibration_batch, metric_);
  }
  Backend& backend_;
  const Recipe& recipe_;
  const Calibration& calibration_;
  std::string metric_;
};

}  // namespace

std::int64_t count_parts(const Model& model, std::int64_t LayerShape::*size) {
  std::int64_t count = 0;
  for (const EncoderLayer& layer : model.layers) count += layer.shape.*size;
  return count;
}

void normalise_layers(Scores& scores) {
  for (std::vector<double>& layer : scores) {
    double squares = 0;
    for (const double score : layer) squares += score * score;
    for (double& score : layer) score = squares > 0 ? score / std::sqrt(squares) : 0.0;
  }
}

Scores random_scores(const Model& model, std::int64_t LayerShape::*size, std::uint64_t seed) {
  std::mt19937_64 engine(seed ^ static_cast<std::uint64_t>(count_parts(model, size)) * 0x9E3779B97F4A7C15ull);
  Scores scores;
  for (const EncoderLayer& layer : model.layers) {
    std::vector<double>& of_layer = scores.emplace_back(static_cast<std::size_t>(layer.shape.*size));
    for (double& score : of_layer) score = static_cast<double>(engine() >> 11) * 0x1p-53;
  }
  return scores;
}

void EncoderBefore::restore(Backend& backend, Model& model) const {
  model.layers = layers_;
  model.config.layers = shapes_;
  model.refresh(backend);
}

void remove_in_rounds(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
                      const RemovedParts& parts, const std::function<Scores()>& score) {
  const auto share = [&](double of) { return std::llround(of * static_cast<double>(parts.full)); };
  // With a floor alone nothing else ends it.
  const bool to_the_floor = recipe.metric_floor && !recipe.sparsity_is_stated;
  const std::int64_t target = to_the_floor ? 0 : parts.full - share(recipe.sparsity);
  const std::int64_t round = std::max<std::int64_t>(1, share(parts.share_per_round));
  const Floor floor(backend, model, recipe, calibration);
  const EncoderBefore first(model);
  try {
    for (std::int64_t left = count_parts(model, parts.size); left > target; left = count_parts(model, parts.size)) {
      const EncoderBefore before(model);
      parts.keep(backend, model, without_least(score(), std::min(round, left - target)));
      if (floor.holds(model)) continue;
      before.restore(backend, model);
      break;
    }
  } catch (...) {
    first.restore(backend, model);
    throw;
  }
}

std::string_view importance_of(const Recipe& recipe, std::string_view names) {
  const std::vector<std::string_view> known = words(names);
  if (recipe.importance == "auto") return known.front();
  const auto found = std::ranges::find(known, recipe.importance);
  if (found != known.end()) return *found;
  std::string list = "auto";
  for (const std::string_view name : known) list += ", " + std::string(name);
  fail(ErrorKind::usage, "importance: found \"", recipe.importance, "\" with method ", recipe.method,
       ", expected one of ", list);
}

}  // namespace bertx::compress
