// Shapes and names of a configuration, without files.
#include "bertx/config.h"

#include <algorithm>
#include <cassert>

namespace bertx {

bool Config::uneven() const {
  const LayerShape full{heads, head_dim(), ffn};
  return std::any_of(layers.begin(), layers.end(), [&](const LayerShape& layer) { return layer != full; });
}

Config make_config(std::int64_t layers, std::int64_t hidden, std::int64_t heads, std::int64_t ffn, std::int64_t vocab,
                   std::int64_t positions) {
  assert(layers >= 0 && heads > 0 && hidden % heads == 0);
  Config config;
  config.vocab = vocab;
  config.hidden = hidden;
  config.positions = positions;
  config.heads = heads;
  config.ffn = ffn;
  config.layers.assign(static_cast<std::size_t>(layers), LayerShape{heads, hidden / heads, ffn});
  return config;
}

std::string_view head_architecture(HeadKind head) {
  switch (head) {
    case HeadKind::none: return "BertModel";
    case HeadKind::sequence_classification: return "BertForSequenceClassification";
    case HeadKind::token_classification: return "BertForTokenClassification";
    case HeadKind::question_answering: return "BertForQuestionAnswering";
    case HeadKind::masked_lm: return "BertForMaskedLM";
  }
  return "BertModel";
}

}  // namespace bertx
