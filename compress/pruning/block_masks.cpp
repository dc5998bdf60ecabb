#include "pruning/block_masks.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "bertx/error.h"
#include "pruning/masks.h"
#include "pruning/soft_scores.h"

namespace bertx::compress {
namespace {

std::shared_ptr<Parameter> new_scores(Backend& backend, std::int64_t rows, std::int64_t cols) {
  auto scores = std::make_shared<Parameter>();
  scores->value = make_storage(backend, rows, cols, backend.real());
  return scores;
}

// The weights of a model in blocks, before they take the place of the others.
class Masker {
 public:
  Masker(Backend& backend, const Recipe& recipe) : backend_(backend), recipe_(recipe) {}

  void attention(const std::string& path, Linear& linear, bool with_bias) {
    const BlockSize block{recipe_.block_height, recipe_.block_width};
    std::shared_ptr<BlockMaskedWeight> weight = known(path, linear, with_bias);
    if (!weight) {
      const LinearWeight& old = *linear.weight;
      weight =
          add(path, linear, block,
              new_scores(backend_, blocks_of(old.out(), block.height), blocks_of(old.in(), block.width)), with_bias);
    }
    if (!(weight->block() == block)) {
      fail(ErrorKind::usage, path, ": found blocks of ", weight->block().height, " x ", weight->block().width,
           ", expected block_height ", block.height, " and block_width ", block.width);
    }
    changes_.emplace_back(&linear, weight);
  }

  void neurons(const std::string& path, Linear& in, Linear& out) {
    std::shared_ptr<BlockMaskedWeight> first = known(path, in, true), second = known(path, out, false);
    if (!first && !second) {
      const std::int64_t count = in.weight->out(), hidden = in.weight->in();
      const auto scores = new_scores(backend_, count, 1);
      first = add(path, in, {1, std::max<std::int64_t>(1, hidden)}, scores, true);
      second = add(path, out, {std::max<std::int64_t>(1, hidden), 1}, scores, false);
    }
    if (!first || !second || first->scores() != second->scores()) {
      fail(ErrorKind::usage, path, ": found only one of the two feed-forward matrices shared with another layer, ",
           "expected both or none, as they lose the same neurons");
    }
    changes_.emplace_back(&in, first);
    changes_.emplace_back(&out, second);
  }

  void apply() {
    for (auto& [linear, weight] : changes_) linear->weight = std::move(weight);
  }

 private:
  // What there is of a weight: it has blocks, or another layer that shares it was here before.
  std::shared_ptr<BlockMaskedWeight> known(const std::string& path, const Linear& linear, bool with_bias) {
    auto found = std::dynamic_pointer_cast<BlockMaskedWeight>(linear.weight);
    if (const auto made = made_.find(linear.weight.get()); !found && made != made_.end()) found = made->second;
    if (found && with_bias && found->bias() != linear.bias) {
      fail(ErrorKind::usage, path, ": found a weight that is shared, with a bias of its own, ",
           "expected the bias to be shared, too, as it is masked with its rows");
    }
    return found;
  }

  std::shared_ptr<BlockMaskedWeight> add(const std::string& path, const Linear& linear, BlockSize block,
                                         std::shared_ptr<Parameter> scores, bool with_bias) {
    return made_[linear.weight.get()] = std::make_shared<BlockMaskedWeight>(
               backend_, dense_parameter(backend_, path, *linear.weight, "to mask in blocks"), block, std::move(scores),
               with_bias ? linear.bias : nullptr);
  }

  Backend& backend_;
  const Recipe& recipe_;
  std::unordered_map<const LinearWeight*, std::shared_ptr<BlockMaskedWeight>> made_;
  std::vector<std::pair<Linear*, std::shared_ptr<LinearWeight>>> changes_;
};

// Which bands of blocks [rows] or [columns] have one that is kept.
std::vector<bool> kept_bands(Backend& backend, const BlockMaskedWeight& weight, bool rows) {
  const std::vector<std::uint8_t> mask = weight.host_mask(backend);
  const std::int64_t cols = weight.block_cols();
  std::vector<bool> kept(static_cast<std::size_t>(rows ? weight.block_rows() : cols));
  for (std::size_t n = 0; n < mask.size(); ++n) {
    const auto at = static_cast<std::int64_t>(n);
    if (mask[n]) kept[static_cast<std::size_t>(rows ? at / cols : at % cols)] = true;
  }
  return kept;
}

const BlockMaskedWeight& blocks_in(const Linear& linear) {
  return dynamic_cast<const BlockMaskedWeight&>(*linear.weight);
}

// Whether any band of blocks of `size` between the elements first and last (not included) is kept.
bool any_between(const std::vector<bool>& bands, std::int64_t size, std::int64_t first, std::int64_t last) {
  for (std::int64_t band = first / size; first < last && band <= (last - 1) / size; ++band) {
    if (bands[static_cast<std::size_t>(band)]) return true;
  }
  return false;
}

std::vector<bool> heads_left(Backend& backend, const EncoderLayer& layer) {
  std::vector<bool> left(static_cast<std::size_t>(layer.shape.heads), true);
  for (const Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.attention_output}) {
    const BlockMaskedWeight& weight = blocks_in(*linear);
    const bool rows = linear != &layer.attention_output;
    const std::vector<bool> bands = kept_bands(backend, weight, rows);
    const std::int64_t size = rows ? weight.block().height : weight.block().width, width = layer.shape.head_dim;
    for (std::int64_t h = 0; h < layer.shape.heads; ++h) {
      if (!any_between(bands, size, h * width, (h + 1) * width)) left[static_cast<std::size_t>(h)] = false;
    }
  }
  return left;
}

}  // namespace

void mask_blocks(Backend& backend, Model& model, const Recipe& recipe) {
  Masker masker(backend, recipe);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    EncoderLayer& layer = model.layers[i];
    const std::string path = "layer " + std::to_string(i);
    masker.attention(path + ", query", layer.query, true);
    masker.attention(path + ", key", layer.key, true);
    masker.attention(path + ", value", layer.value, true);
    masker.attention(path + ", attention output", layer.attention_output, false);
    masker.neurons(path + ", feed-forward", layer.ffn_in, layer.ffn_out);
  }
  masker.apply();
}

std::vector<ScoredBlocks> scored_blocks(Model& model) {
  std::vector<ScoredBlocks> found;
  for (BlockMaskedWeight* weight : weights_of_kind<BlockMaskedWeight>(model)) {
    Parameter* const scores = weight->scores().get();
    auto same = std::ranges::find(found, scores, &ScoredBlocks::scores);
    if (same == found.end()) same = found.insert(same, {scores, {}});
    same->weights.push_back(weight);
  }
  return found;
}

void threshold_blocks(Backend& backend, Model& model, double threshold, double most) {
  struct Masked {
    float score;
    std::uint8_t* bit;
    std::int64_t weights;
  };
  const std::vector<ScoredBlocks> all = scored_blocks(model);
  std::vector<std::vector<std::uint8_t>> masks;
  std::vector<Masked> masked;
  std::int64_t total = 0, zeros = 0;
  for (const ScoredBlocks& blocks : all) {
    const HostFloats scores(backend, blocks.scores->tensor());
    std::vector<std::uint8_t>& mask = masks.emplace_back(static_cast<std::size_t>(blocks.scores->tensor().size()));
    keep_above(scores.data(), mask.data(), static_cast<std::int64_t>(mask.size()), threshold);
    for (std::size_t n = 0; n < mask.size(); ++n) {
      std::int64_t size = 0;
      for (const BlockMaskedWeight* weight : blocks.weights)
        size += weight->size_of_block(static_cast<std::int64_t>(n));
      total += size;
      if (mask[n]) continue;
      zeros += size;
      masked.push_back({scores.data()[n], &mask[n], size});
    }
  }
  std::ranges::stable_sort(masked, std::greater<>(), &Masked::score);
  for (const Masked& block : masked) {
    if (static_cast<double>(zeros) <= most * static_cast<double>(total)) break;
    *block.bit = 1;
    zeros -= block.weights;
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (BlockMaskedWeight* weight : all[i].weights) {
      const Tensor bits = weight->mask().tensor;
      if (bits.size() > 0) backend.upload(view(masks[i].data(), bits.rows, bits.cols, DType::u8), bits);
      weight->refresh(backend);
    }
  }
}

Survivors survivors(Backend& backend, Model& model) {
  Survivors left;
  for (const EncoderLayer& layer : model.layers) {
    left.heads.push_back(heads_left(backend, layer));
    left.neurons.push_back(kept_bands(backend, blocks_in(layer.ffn_in), true));
  }
  return left;
}

void fill_blocks(Backend& backend, Model& model) {
  const Survivors left = survivors(backend, model);
  replace_weights(model, [](const std::string&, const Linear& linear) -> std::shared_ptr<LinearWeight> {
    return std::make_shared<DenseWeight>(blocks_in(linear).parameter());
  });
  keep_heads(backend, model, left.heads);
  keep_neurons(backend, model, left.neurons);
}

}  // namespace bertx::compress
