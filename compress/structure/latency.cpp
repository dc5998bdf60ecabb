#include "structure/latency.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace bertx::compress {
namespace {

/// A layer of random weights on one text.
class TimedLayer {
 public:
  TimedLayer(Backend& backend, Config config, LayerShape shape, std::int64_t tokens)
      : backend_(backend), arena_(backend), starts_{0, static_cast<std::int32_t>(tokens)} {
    config.layers = {shape};
    config.vocab = config.types = 1;
    config.positions = tokens;
    config.head = HeadKind::none;
    model_ = make_model(backend, config, 1);
    model_.prepare(backend);
    x_ = make_storage(backend, config.hidden, tokens, backend.real());
    backend.fill(x_.tensor, 0.5);
  }

  void run() {
    arena_.reset();
    Exec exec{backend_, arena_};
    const Tensor y = exec.take(x_.tensor.rows, x_.tensor.cols);
    const auto begin = std::chrono::steady_clock::now();
    model_.layers.front().forward(exec, x_.tensor, exec.integers(starts_), y, nullptr);
    double said = 0;  // the host waits for the device
    backend_.download(y.row_range(0, 1).col_range(0, 1), view(&said, 1, 1, DType::f64));
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    fastest_ = std::min(fastest_, time.count());
  }
  double fastest() const { return fastest_; }

 private:
  Backend& backend_;
  Arena arena_;
  std::vector<std::int32_t> starts_;
  Model model_;
  Storage x_;
  double fastest_ = std::numeric_limits<double>::infinity();
};

// Quarters of the most, and a first one.
std::vector<std::int64_t> counts_up_to(std::int64_t most) {
  std::vector<std::int64_t> counts{0, std::min<std::int64_t>(1, most)};
  for (const std::int64_t quarter : {1, 2, 3, 4}) counts.push_back(std::max(counts.back(), quarter * most / 4));
  counts.erase(std::ranges::unique(counts).begin(), counts.end());
  return counts;
}

std::int64_t most_of(const Model& model, std::int64_t LayerShape::*size) {
  std::int64_t most = 0;
  for (const EncoderLayer& layer : model.layers) most = std::max(most, layer.shape.*size);
  return most;
}

CostCurve measure(Backend& backend, const Model& model, std::int64_t LayerShape::*size) {
  constexpr int runs = 12;  // in turns, since a machine is not always as fast
  const std::int64_t tokens = std::min<std::int64_t>(128, model.config.positions);
  const std::vector<std::int64_t> counts = counts_up_to(most_of(model, size));
  std::vector<std::unique_ptr<TimedLayer>> layers;
  for (const std::int64_t count : counts) {
    LayerShape shape{0, model.layers.front().shape.head_dim, 0};
    shape.*size = count;
    layers.push_back(std::make_unique<TimedLayer>(backend, model.config, shape, tokens));
  }
  for (int n = 0; n < runs; ++n) {
    for (const auto& layer : layers) layer->run();
  }
  std::vector<std::pair<std::int64_t, double>> points;
  for (std::size_t i = 0; i < counts.size(); ++i) points.emplace_back(counts[i], layers[i]->fastest());
  return costs_between(points);
}

}  // namespace

PartCosts measure_part_latency(Backend& backend, const Model& model) {
  return {measure(backend, model, &LayerShape::heads), measure(backend, model, &LayerShape::ffn)};
}

}  // namespace bertx::compress
