// The tokens of a model by id, and their ids by token.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bertx::wordpiece {

/// A hash table from tokens to ids beside the tokens themselves.
class Vocabulary {
 public:
  /// Of equal tokens the last is the one that is found. Adds a warning for each (the first few by name).
  Vocabulary(std::vector<std::string> tokens, std::vector<std::string>& warnings);

  const std::vector<std::string>& tokens() const { return tokens_; }
  int size() const { return static_cast<int>(tokens_.size()); }
  std::optional<int> find(std::string_view token) const;

 private:
  std::size_t slot_of(std::string_view token) const;  // where it stands, or the free slot where it would

  std::vector<std::string> tokens_;
  std::vector<std::int32_t> slots_;  // ids; -1: free; a power of two, at most half of it used
};

}  // namespace bertx::wordpiece
