// What the tests of the tokenizer share: goldens in JSON lines, and small vocabularies.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bertx/tokenizer.h"

namespace bertx {

inline std::filesystem::path source_directory() { return BERTX_SOURCE_DIR; }

inline std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// A case of a golden: its settings, text, and what must come out.
inline TokenizerOptions options_of(const nlohmann::json& golden) {
  TokenizerOptions options;
  options.lowercase = golden.at("lowercase");
  options.chinese_chars = golden.value("handle_chinese_chars", true);
  if (golden.contains("strip_accents")) options.strip_accents = golden.at("strip_accents").get<bool>();
  return options;
}

/// The special tokens, `more`, and every lower-case letter as a word and as a continuation.
inline std::vector<std::string> small_vocabulary(std::vector<std::string> more = {}) {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  tokens.insert(tokens.end(), more.begin(), more.end());
  for (char c = 'a'; c <= 'z'; ++c) {
    tokens.emplace_back(1, c);
    tokens.push_back(std::string("##") + c);
  }
  return tokens;
}

/// The tokens of a text without [CLS] and [SEP].
inline std::vector<std::string> tokens_of(const Tokenizer& tokenizer, std::string_view text) {
  const Encoding encoding = tokenizer.encode(text);
  std::vector<std::string> tokens;
  for (std::size_t i = 1; i + 1 < encoding.ids.size(); ++i) tokens.emplace_back(tokenizer.token(encoding.ids[i]));
  return tokens;
}

}  // namespace bertx
