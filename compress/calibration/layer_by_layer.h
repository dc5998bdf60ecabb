// The encoder run one layer at a time over all examples, so that each layer is measured behind those that were already
// changed: what SparseGPT and Wanda do.
#pragma once

#include "calibration/examples.h"

namespace bertx::compress {

/// Texts on their way through the encoder, batch by batch; the hidden states of all are kept meanwhile.
class Travelling {
 public:
  /// They stand behind the embeddings.
  Travelling(Backend& backend, const Model& model, const Calibration& calibration, std::int64_t batch_size);
  std::size_t batches() const { return all_.size(); }
  /// The layer runs on one batch, of the last layer of a classifier the `first_tokens` only; what it says becomes the
  /// batch's hidden states where `keep` is set.
  void run(const EncoderLayer& layer, bool first_tokens, std::size_t batch, bool keep);
  /// The same for all batches.
  void run(const EncoderLayer& layer, bool first_tokens, bool keep) {
    for (std::size_t batch = 0; batch < all_.size(); ++batch) run(layer, first_tokens, batch, keep);
  }

 private:
  struct Texts {
    Batch batch;
    Storage hidden;  // [H, T], the next layer's input
  };
  Backend& backend_;
  Arena arena_;
  std::vector<Texts> all_;
};

/// For each layer in turn: seen(path, linear, x [in, T]) for the inputs of its linear maps in every batch, the layer
/// being as it is; then change(layer); then the changed layer runs, and what it says is what the next layer is given.
/// Two passes over the encoder in all. The hidden states of all examples are kept meanwhile. Of the last layer of a
/// classifier only the tokens that it reads come.
void run_layers(Backend& backend, Model& model, const Calibration& calibration, std::int64_t batch_size,
                const InputSeen& seen, const std::function<void(std::size_t layer)>& change);

}  // namespace bertx::compress
