// How a sentence-transformers directory makes one vector of a text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace bertx {

/// From modules.json, 1_Pooling/config.json and sentence_bert_config.json.
struct SentenceConfig {
  bool pool_cls = false, pool_mean = false, pool_max = false;  ///< several: the vectors are concatenated in this order
  bool normalize = false;                                      ///< divide by the L2 norm
  std::optional<std::int64_t> max_seq_length;
  std::optional<bool> do_lower_case;
};

/// Nothing where `directory` has no modules.json. Throws Error(bad_input) for modules or poolings that bertx lacks.
std::optional<SentenceConfig> read_sentence_config(const std::filesystem::path& directory);

}  // namespace bertx
