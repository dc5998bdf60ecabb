// A whole BERT with its head: forward, loss, backward, and the one walk over everything that it is made of.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bertx/batch.h"
#include "bertx/layers.h"

namespace bertx {

/// The head named by Config::head. Absent parts are empty.
struct Head {
  HeadKind kind = HeadKind::none;
  ProblemKind problem = ProblemKind::single_label;
  float dropout = 0.1f;
  std::optional<Linear> classifier;  ///< sequence and token classification [labels, H]; QA [2, H]
  std::optional<Linear> transform;   ///< masked LM: dense, activation, norm, then the decoder
  std::optional<LayerNorm> transform_norm;
  std::optional<Linear> decoder;  ///< masked LM [vocab, H]; its weight may be the word embedding itself
  Activation activation = Activation::gelu_erf;

  struct Saved {
    Tensor hidden, pooled_sum, pooled, dropped;  ///< what the head was given; through the pooler
    Dropout dropout;
    Tensor transform_sum, transform_active, transform_out;  ///< masked LM
    LayerNorm::Saved transform_norm;
  };
};

class Model {
 public:
  Config config;
  std::string original_config;  ///< text of the config.json it came from; keys bertx does not use survive a save
  Embeddings embeddings;
  std::vector<EncoderLayer> layers;
  std::optional<Linear> pooler;
  Head head;

  struct Saved {
    Tensor ids, types, starts;
    Embeddings::Saved embeddings;
    std::vector<EncoderLayer::Saved> layers;
    Tensor hidden;  ///< [H, T] after the last layer; [H, B] where a pooler reads first tokens only
    Tensor picked;  ///< i32 [1, B]: the tokens that the head was given of hidden, where that holds all; else empty
    Head::Saved head;
  };

  // ---- running: const, so one model serves many threads, each with its own Exec ---------------------------------
  /// The encoder: hidden states [H, T] after the last layer, in the arena. `every_layer`, where given, receives the
  /// embeddings' output and then each layer's.
  Tensor encode(Exec& exec, const Batch& batch, Saved* saved = nullptr,
                std::vector<Tensor>* every_layer = nullptr) const;
  /// Logits: [labels, B] sequence classification, [labels, T] token classification, [2, T] QA, [vocab, T] masked LM;
  /// without a head the pooler's output [H, B], or the hidden states where there is no pooler.
  Tensor forward(Exec& exec, const Batch& batch, Saved* saved = nullptr) const;
  /// The same of a batch that lies in the backend's memory, where nobody can look whether it is a good one.
  Tensor forward(Exec& exec, const BatchTensors& batch, Saved* saved = nullptr) const;
  /// Throws Error(usage) that names what of a batch `forward` could not work with.
  void check(const Batch& batch) const;
  /// Mean loss of `batch` given its logits; dlogits (may be empty) becomes its gradient times `scale`.
  double loss(Exec& exec, const Batch& batch, Tensor logits, double scale = 1.0, Tensor dlogits = {}) const;
  /// Gradients of all parameters that have one, from dlogits (used up). The arena is left as it was found.
  void backward(Exec& exec, const Batch& batch, const Saved& saved, Tensor dlogits);

  // ---- the walk ---------------------------------------------------------------------------------------------------
  /// Every parameter once (shared ones at their first path), in the order of a checkpoint.
  void visit(const Visit& parameter);
  /// The same, but a shared parameter comes at each of its paths.
  void visit_every_path(const Visit& parameter);
  /// Masks, columns, row pointers: saved, never updated.
  void visit_structure(const VisitStructure& part);
  /// The encoder's linear maps, six a layer, named "bert.encoder.layer.0.attention.self.query" and so on.
  void visit_linears(const std::function<void(const std::string& path, Linear&)>& linear);

  /// Gives every parameter that is not frozen a gradient of zeros (or zeros the one it has).
  void zero_gradients(Backend& backend);
  void drop_gradients();
  /// To be called after parameters or masks have changed.
  void refresh(Backend& backend);
  /// Packs the weights for inference, query, key and value of a layer as one product; `refresh` undoes it.
  void prepare(Backend& backend);
  /// What each product of the encoder runs, in order; the prepared weight is null where there is none.
  void visit_kernels(
      const std::function<void(const std::string& path, const std::string& kernel, const PreparedWeight*)>& kernel);
  std::int64_t parameter_count();
  /// word [vocab, E] · projection [E, H] in the place of the word embeddings, and of a decoder that is tied to them.
  void factor_word_embeddings(std::shared_ptr<Parameter> word, std::shared_ptr<Parameter> projection);

 private:
  /// encode, but of the last layer `only` these tokens' outputs where it is not empty: [H, n].
  Tensor run_encoder(Exec& exec, const BatchTensors& batch, Saved* saved, std::vector<Tensor>* every_layer,
                     Tensor only) const;
  std::string prefix() const { return head.kind == HeadKind::none ? "" : "bert."; }
};

/// A model of the given shape with random weights: normal(0, initializer_range), biases 0, LayerNorm 1 and 0.
Model make_model(Backend& backend, const Config& config, std::uint64_t seed);

struct LoadOptions {
  std::optional<HeadKind> head;  ///< put this head on, new where the file has none of that kind
  std::optional<ProblemKind> problem;
  std::vector<std::string> labels;  ///< of a new head; empty: those of config.json
  std::uint64_t seed = 42;          ///< of new weights
};
struct LoadReport {
  std::vector<std::string> initialised;  ///< parameters that the file lacks: new random weights
  std::vector<std::string> unused;       ///< tensors of the file that the model has no place for
};

/// Reads a Hugging Face directory (conventions: with or without "bert.", gamma/beta, F32/F16/BF16, shards) or bertx's
/// compressed form (engine/io/FORMAT.md). On a backend that reads host memory F32 weights stay in the mapped file.
/// Throws Error(bad_input) naming file, tensor, found and expected.
Model load_model(Backend& backend, const std::filesystem::path& directory, const LoadOptions& options = {},
                 LoadReport* report = nullptr);

/// Loading looks at no weight, so that a mapped file is not read before it is used. This does: throws Error(bad_input)
/// that names `where` and the first tensor with a NaN or infinity.
void require_finite(Backend& backend, Model& model, const std::string& where);

enum class ExportForm { native, dense };
/// Writes config.json and model.safetensors into an existing directory. native: every weight in its own kind; dense: a
/// plain Hugging Face directory with exact zeros, that transformers loads.
void save_model(Backend& backend, Model& model, const std::filesystem::path& directory, ExportForm form);

}  // namespace bertx
