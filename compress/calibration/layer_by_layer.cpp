#include "calibration/layer_by_layer.h"

#include <unordered_map>

#include "calibration/seeing.h"

namespace bertx::compress {
namespace {

// The texts of one batch on their way through the layers.
struct Travelling {
  Batch batch;
  Storage hidden;  // [H, T], the next layer's input
};

// The layer's output for one batch is written to its `hidden` where `keep` is set. Of the last layer `first_tokens`.
void run_layer(Backend& backend, const EncoderLayer& layer, Arena& arena, Travelling& texts, bool first_tokens,
               bool keep) {
  arena.reset();
  Exec exec{backend, arena};
  const Tensor starts = exec.integers(texts.batch.starts);
  const auto sequences = static_cast<std::size_t>(texts.batch.sequences());
  const Tensor only = first_tokens ? exec.integers(std::span(texts.batch.starts).first(sequences)) : Tensor{};
  const Tensor x = texts.hidden.tensor;
  const Tensor y = exec.take(x.rows, first_tokens ? only.cols : x.cols);
  layer.forward(exec, x, starts, y, nullptr, only);
  if (keep) backend.copy(y, x);
}

}  // namespace

void run_layers(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen, const std::function<void(std::size_t layer)>& change) {
  model.refresh(backend);  // stacked products would go past the single maps
  Arena arena(backend);
  std::vector<Travelling> all;
  for_batches(model, calibration, batch_size, [&](std::int64_t, const Batch& batch) {
    all.push_back({batch, make_storage(backend, model.config.hidden, batch.tokens(), backend.real())});
    arena.reset();
    Exec exec{backend, arena};
    model.embeddings.forward(exec, exec.integers(batch.ids), exec.integers(batch.types), exec.integers(batch.starts),
                             all.back().hidden.tensor, nullptr);
  });

  std::unordered_map<const Linear*, std::string> paths;
  model.visit_linears([&](const std::string& path, Linear& linear) { paths[&linear] = path; });
  const std::size_t layers = model.layers.size();
  for (std::size_t i = 0; i < layers; ++i) {
    EncoderLayer& layer = model.layers[i];
    const bool is_last = i + 1 == layers, first_tokens = is_last && model.pooler.has_value();
    {
      Seeing seeing(seen);
      layer.visit_linears("", [&](const std::string&, Linear& linear) { seeing.add(paths[&linear], linear); });
      for (Travelling& texts : all) run_layer(backend, layer, arena, texts, first_tokens, false);
    }
    change(i);
    if (is_last) break;
    for (Travelling& texts : all) run_layer(backend, layer, arena, texts, false, true);
  }
}

}  // namespace bertx::compress
