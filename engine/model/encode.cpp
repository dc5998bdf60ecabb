// The encoder of a whole model: token ids -> hidden states, and the way back.
#include "bertx/error.h"
#include "bertx/model.h"
#include "model/batch_tensors.h"

namespace bertx {
namespace {

// What a caller of the library could get wrong; files were checked when they were read.
void check_tokens(const Batch& batch, const Config& config) {
  if (batch.sequences() == 0 || batch.starts.front() != 0 || batch.starts.back() != batch.tokens() ||
      batch.types.size() != batch.ids.size()) {
    fail(ErrorKind::usage, "batch: found ", batch.tokens(), " ids, ", batch.types.size(), " types and ",
         batch.starts.size(), " starts, expected ids and types of one length and starts from 0 to that length");
  }
  for (std::size_t b = 0; b + 1 < batch.starts.size(); ++b) {
    const std::int64_t length = std::int64_t{batch.starts[b + 1]} - batch.starts[b];
    if (length < 0 || length > config.positions) {
      fail(ErrorKind::usage, "batch: sequence ", b, " has ", length, " tokens, expected 0 to ", config.positions,
           " (max_position_embeddings)");
    }
  }
  for (std::size_t t = 0; t < batch.ids.size(); ++t) {
    if (batch.ids[t] < 0 || batch.ids[t] >= config.vocab || batch.types[t] < 0 || batch.types[t] >= config.types) {
      fail(ErrorKind::usage, "batch: token ", t, " has id ", batch.ids[t], " and type ", batch.types[t],
           ", expected an id below ", config.vocab, " and a type below ", config.types);
    }
  }
}

}  // namespace

void Model::check(const Batch& batch) const {
  check_tokens(batch, config);
  for (std::size_t b = 0; pooler && b + 1 < batch.starts.size(); ++b) {
    if (batch.starts[b] == batch.starts[b + 1]) {
      fail(ErrorKind::usage, "batch: sequence ", b, " is empty, expected at least one token to classify");
    }
  }
}

BatchTensors tensors_of(Exec& exec, const Batch& batch) {
  return {exec.integers(batch.ids), exec.integers(batch.types), exec.integers(batch.starts)};
}

// -> hidden states [H, T]
Tensor Model::encode(Exec& exec, const Batch& batch, Saved* saved, std::vector<Tensor>* every_layer) const {
  check_tokens(batch, config);
  return run_encoder(exec, tensors_of(exec, batch), saved, every_layer, {});
}

// -> hidden states [H, T], or [H, n] of the tokens wanted
Tensor Model::run_encoder(Exec& exec, const BatchTensors& batch, Saved* saved, std::vector<Tensor>* every_layer,
                          Tensor only) const {
  const auto& [ids, types, starts] = batch;
  if (saved) {
    saved->ids = ids, saved->types = types, saved->starts = starts;
    saved->layers.resize(layers.size());
  }
  const bool keep = saved || every_layer;
  Tensor x = exec.take(config.hidden, ids.cols), y;
  embeddings.forward(exec, ids, types, starts, x, saved ? &saved->embeddings : nullptr);
  if (every_layer) every_layer->assign(1, x);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Tensor wanted = i + 1 == layers.size() ? only : Tensor{};
    // Inference needs two activations in turn; whoever wants them all gets one a layer.
    if (keep || y.empty() || !wanted.empty()) y = exec.take(config.hidden, wanted.empty() ? x.cols : wanted.cols);
    layers[i].forward(exec, x, starts, y, saved ? &saved->layers[i] : nullptr, wanted);
    if (every_layer) every_layer->push_back(y);
    std::swap(x, y);
  }
  if (saved) saved->hidden = x;
  return x;
}

}  // namespace bertx
