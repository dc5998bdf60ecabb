// The files of a tokenizer in a model directory, as Hugging Face lays them out.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bertx/tokenizer.h"

namespace bertx::wordpiece {

struct TokenizerFiles {
  std::vector<std::string> vocabulary;
  TokenizerOptions options;
  std::vector<std::string> warnings;
  std::string source = "vocabulary";  // how messages name what the vocabulary came from
};

/// vocab.txt, or tokenizer.json where there is none (where there are both they must agree); tokenizer_config.json and
/// special_tokens_map.json where they exist.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& directory);

void write_tokenizer_files(const std::filesystem::path& directory, const std::vector<std::string>& vocabulary,
                           const TokenizerOptions& options);

/// The tokens of a vocab.txt, one a line; line n has the id n - 1.
std::vector<std::string> read_vocabulary(const std::filesystem::path& path, std::vector<std::string>& warnings);

}  // namespace bertx::wordpiece
