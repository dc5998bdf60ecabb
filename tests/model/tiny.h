// Tiny random models of every head and every representation, and batches for them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bertx/block_masked_weight.h"
#include "bertx/gated_weight.h"
#include "bertx/model.h"
#include "bertx/sum_weight.h"
#include "bertx/tucker_weight.h"
#include "support.h"

namespace bertx::test {

struct TinyHead {
  std::string name;
  HeadKind head;
  ProblemKind problem = ProblemKind::single_label;
  int labels = 3;
};

inline std::vector<TinyHead> tiny_heads() {
  return {{"classification", HeadKind::sequence_classification},
          {"regression", HeadKind::sequence_classification, ProblemKind::regression, 1},
          {"multi_label", HeadKind::sequence_classification, ProblemKind::multi_label, 4},
          {"token", HeadKind::token_classification},
          {"qa", HeadKind::question_answering},
          {"mlm", HeadKind::masked_lm}};
}

inline Config tiny_config(const TinyHead& head) {
  Config config = make_config(2, 12, 3, 10, 23, 16);
  config.head = head.head;
  config.problem = head.problem;
  config.initializer_range = 0.5f;
  for (int i = 0; i < head.labels; ++i) config.labels.push_back("LABEL_" + std::to_string(i));
  return config;
}

/// Biases and LayerNorms away from 0 and 1, where errors would hide.
inline void randomise_vectors(Backend& backend, Model& model, std::uint64_t seed) {
  RandomSource random(seed);
  model.visit([&](const std::string& path, Parameter& p) {
    if (p.tensor().cols != 1) return;
    const bool gamma = path.find("LayerNorm.weight") != std::string::npos;
    std::vector<double> values = random.normals(p.tensor().rows, 0.3);
    for (double& value : values) value += gamma;
    if (!values.empty()) backend.upload(view(values.data(), p.tensor().rows, 1, DType::f64), p.tensor());
  });
  model.refresh(backend);
}

/// Four sequences of 1 to 9 tokens with labels for the model's head.
inline Batch tiny_batch(const Model& model, std::uint64_t seed) {
  RandomSource random(seed);
  Batch batch;
  batch.starts = {0, 5, 6, 15, 18};
  for (int t = 0; t < 18; ++t) {
    batch.ids.push_back(static_cast<std::int32_t>(random.integer(0, model.config.vocab - 1)));
    batch.types.push_back(static_cast<std::int32_t>(random.integer(0, 1)));
  }
  const auto labels = static_cast<std::int64_t>(model.config.labels.size());
  switch (model.head.kind) {
    case HeadKind::sequence_classification:
      if (model.head.problem == ProblemKind::single_label) {
        for (int b = 0; b < 4; ++b) batch.labels.push_back(static_cast<std::int32_t>(random.integer(0, labels - 1)));
      } else {
        for (int i = 0; i < 4 * labels; ++i) {
          batch.targets.push_back(model.head.problem == ProblemKind::regression
                                      ? static_cast<float>(random.normal())
                                      : static_cast<float>(random.integer(0, 1)));
        }
      }
      break;
    case HeadKind::question_answering: batch.labels = {2, 0, 8, 1, 4, 0, 8, 2}; break;
    case HeadKind::token_classification:
    case HeadKind::masked_lm: {
      const std::int64_t classes = model.head.kind == HeadKind::masked_lm ? model.config.vocab : labels;
      for (int t = 0; t < 18; ++t) {
        batch.labels.push_back(t % 4 == 3 ? -100 : static_cast<std::int32_t>(random.integer(0, classes - 1)));
      }
      break;
    }
    case HeadKind::none: break;
  }
  return batch;
}

/// What a model says of a batch, row by row.
inline std::vector<double> logits_of(Backend& backend, const Model& model, const Batch& batch) {
  Arena arena(backend);
  Exec exec{backend, arena};
  return values_of(backend, model.forward(exec, batch));
}

/// Puts the encoder's weights into another representation: masked, csr (60 % zeros), low_rank, low_rank_csr; sum (dense
/// and csr); shared (layer 1 uses layer 0's weights), shared_sum (maps of one shape have one csr weight, and each a low
/// rank of its own beside it); no_heads and few_heads (layer 0 has none, layer 1 has one); few_neurons (layer 0 has
/// none, layer 1 has four); tucker (twice as many neurons as features); embedding (word embeddings of rank 5, the
/// encoder as it was); gated; block_masked (blocks of 3 x 5, and a mask of neurons for both feed-forward matrices of a
/// layer).
inline void represent(Backend& backend, Model& model, const std::string& kind, std::uint64_t seed) {
  RandomSource random(seed);
  const auto random_parameter = [&](std::int64_t rows, std::int64_t cols, double scale) {
    auto p = std::make_shared<Parameter>();
    p->value = random_matrix(backend, random, rows, cols, scale);
    return p;
  };
  const auto dense = [&](std::int64_t rows, std::int64_t cols) { return random_parameter(rows, cols, 0.5); };
  const auto bits = [&](std::int64_t rows, std::int64_t cols) {
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(rows * cols));
    for (auto& bit : mask) bit = random.chance(0.4);
    return make_mask(backend, rows, cols, mask);
  };
  if (kind == "shared") {
    for (auto [to, from] : {std::pair{&model.layers[1].query, &model.layers[0].query},
                            {&model.layers[1].ffn_in, &model.layers[0].ffn_in},
                            {&model.layers[1].key, &model.layers[1].query}}) {
      *to = *from;
    }
  } else if (kind == "embedding") {
    const std::int64_t rank = 5;
    model.factor_word_embeddings(dense(model.config.vocab, rank), dense(rank, model.config.hidden));
  } else if (kind == "no_heads" || kind == "few_heads") {
    for (std::size_t l = 0; l < 2; ++l) {
      EncoderLayer& layer = model.layers[l];
      const std::int64_t heads = kind == "no_heads" || l == 0 ? 0 : 1, width = heads * layer.shape.head_dim;
      for (Linear* linear : {&layer.query, &layer.key, &layer.value}) {
        linear->weight = std::make_shared<DenseWeight>(dense(width, model.config.hidden));
        linear->bias = dense(width, 1);
      }
      layer.attention_output.weight = std::make_shared<DenseWeight>(dense(model.config.hidden, width));
      layer.shape.heads = model.config.layers[l].heads = heads;
    }
  } else if (kind == "tucker") {
    const std::int64_t hidden = model.config.hidden, cores = 2, left = 4, right = 3;
    const TuckerBasis basis{std::make_shared<DenseWeight>(dense(hidden, left)),
                            std::make_shared<DenseWeight>(dense(right, hidden)), dense(cores, left * right)};
    model.config.ffn = 2 * hidden;  // two slices
    for (std::size_t l = 0; l < model.layers.size(); ++l) {
      EncoderLayer& layer = model.layers[l];
      for (Linear* square : {&layer.query, &layer.key, &layer.value, &layer.attention_output})
        square->weight = std::make_shared<TuckerWeight>(basis, dense(1, cores), 1, 1);
      layer.ffn_in = {std::make_shared<TuckerWeight>(basis, dense(2, cores), 2, 1), dense(2 * hidden, 1)};
      layer.ffn_out.weight = std::make_shared<TuckerWeight>(basis, dense(2, cores), 1, 2);
      layer.shape.ffn = model.config.layers[l].ffn = 2 * hidden;
    }
  } else if (kind == "block_masked") {
    const auto block_masked = [&](Linear& linear, BlockSize block, bool with_bias, std::shared_ptr<Parameter> scores,
                                  std::uint64_t mask_seed) {
      const std::int64_t out = linear.weight->out(), in = linear.weight->in();
      if (!scores) scores = dense(blocks_of(out, block.height), blocks_of(in, block.width));
      const auto weight = std::make_shared<BlockMaskedWeight>(backend, dense(out, in), block, scores,
                                                              with_bias ? linear.bias : nullptr);
      std::vector<std::uint8_t> mask(static_cast<std::size_t>(weight->block_rows() * weight->block_cols()));
      RandomSource mask_random(mask_seed);
      for (auto& bit : mask) bit = mask_random.chance(0.4);
      weight->mask() = make_mask(backend, weight->block_rows(), weight->block_cols(), mask);
      linear.weight = weight;
    };
    std::uint64_t next = seed;
    for (EncoderLayer& layer : model.layers) {
      for (Linear* linear : {&layer.query, &layer.key, &layer.value}) block_masked(*linear, {3, 5}, true, {}, ++next);
      block_masked(layer.attention_output, {3, 5}, false, {}, ++next);
      const auto scores = dense(layer.shape.ffn, 1);
      block_masked(layer.ffn_in, {1, model.config.hidden}, true, scores, ++next);
      block_masked(layer.ffn_out, {model.config.hidden, 1}, false, scores, next);
    }
  } else if (kind == "few_neurons") {
    for (std::size_t l = 0; l < 2; ++l) {
      EncoderLayer& layer = model.layers[l];
      const std::int64_t neurons = l == 0 ? 0 : 4;
      layer.ffn_in = {std::make_shared<DenseWeight>(dense(neurons, model.config.hidden)), dense(neurons, 1)};
      layer.ffn_out.weight = std::make_shared<DenseWeight>(dense(model.config.hidden, neurons));
      layer.shape.ffn = model.config.layers[l].ffn = neurons;
    }
  } else {
    std::map<std::pair<std::int64_t, std::int64_t>, std::shared_ptr<LinearWeight>> first_of;  // by shape
    model.visit_linears([&](const std::string&, Linear& linear) {
      const std::int64_t out = linear.weight->out(), in = linear.weight->in(), rank = 3;
      auto w = dense(out, in);
      if (kind == "masked") {
        auto masked = std::make_shared<MaskedWeight>(backend, w, true);
        masked->mask() = bits(out, in);
        linear.weight = masked;
      } else if (kind == "gated") {
        linear.weight = std::make_shared<GatedWeight>(backend, w, random_parameter(out, in, 2.0));
      } else if (kind == "csr") {
        linear.weight = CsrWeight::from_dense(backend, w->tensor(), bits(out, in).tensor);
      } else if (kind == "low_rank") {
        linear.weight = std::make_shared<LowRankWeight>(std::make_shared<DenseWeight>(dense(out, rank)),
                                                        std::make_shared<DenseWeight>(dense(rank, in)));
      } else if (kind == "sum") {
        linear.weight =
            std::make_shared<SumWeight>(std::make_shared<DenseWeight>(w),
                                        CsrWeight::from_dense(backend, dense(out, in)->tensor(), bits(out, in).tensor));
      } else if (kind == "shared_sum") {
        std::shared_ptr<LinearWeight>& first = first_of[{out, in}];
        if (!first) first = CsrWeight::from_dense(backend, w->tensor(), bits(out, in).tensor);
        linear.weight = std::make_shared<SumWeight>(
            first, std::make_shared<LowRankWeight>(std::make_shared<DenseWeight>(dense(out, rank)),
                                                   std::make_shared<DenseWeight>(dense(rank, in))));
      } else {
        const auto u = dense(out, rank), v = dense(rank, in);
        linear.weight =
            std::make_shared<LowRankWeight>(CsrWeight::from_dense(backend, u->tensor(), bits(out, rank).tensor),
                                            CsrWeight::from_dense(backend, v->tensor(), bits(rank, in).tensor));
      }
    });
  }
  model.refresh(backend);
}

}  // namespace bertx::test
