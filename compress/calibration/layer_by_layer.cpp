#include "calibration/layer_by_layer.h"

#include <unordered_map>

#include "calibration/seeing.h"

namespace bertx::compress {
Travelling::Travelling(Backend& backend, const Model& model, const Calibration& calibration, std::int64_t batch_size)
    : backend_(backend), arena_(backend) {
  for_batches(model, calibration, batch_size, [&](std::int64_t, const Batch& batch) {
    all_.push_back({batch, make_storage(backend, model.config.hidden, batch.tokens(), backend.real())});
    arena_.reset();
    Exec exec{backend, arena_};
    model.embeddings.forward(exec, exec.integers(batch.ids), exec.integers(batch.types), exec.integers(batch.starts),
                             all_.back().hidden.tensor, nullptr);
  });
}

void Travelling::run(const EncoderLayer& layer, bool first_tokens, std::size_t batch, bool keep) {
  Texts& texts = all_[batch];
  arena_.reset();
  Exec exec{backend_, arena_};
  const Tensor starts = exec.integers(texts.batch.starts);
  const auto sequences = static_cast<std::size_t>(texts.batch.sequences());
  const Tensor only = first_tokens ? exec.integers(std::span(texts.batch.starts).first(sequences)) : Tensor{};
  const Tensor x = texts.hidden.tensor;
  const Tensor y = exec.take(x.rows, first_tokens ? only.cols : x.cols);
  layer.forward(exec, x, starts, y, nullptr, only);
  if (keep) backend_.copy(y, x);
}

void run_layers(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen, const std::function<void(std::size_t layer)>& change) {
  model.refresh(backend);  // stacked products would go past the single maps
  Travelling texts(backend, model, calibration, batch_size);
  std::unordered_map<const Linear*, std::string> paths;
  model.visit_linears([&](const std::string& path, Linear& linear) { paths[&linear] = path; });
  const std::size_t layers = model.layers.size();
  for (std::size_t i = 0; i < layers; ++i) {
    EncoderLayer& layer = model.layers[i];
    const bool is_last = i + 1 == layers, first_tokens = is_last && model.pooler.has_value();
    {
      Seeing seeing(seen);
      layer.visit_linears("", [&](const std::string&, Linear& linear) { seeing.add(paths[&linear], linear); });
      texts.run(layer, first_tokens, false);
    }
    change(i);
    if (is_last) break;
    texts.run(layer, false, true);
  }
}

}  // namespace bertx::compress
