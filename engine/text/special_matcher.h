// Finds special tokens, spelt exactly, in a text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bertx::wordpiece {

class SpecialMatcher {
 public:
  struct Match {
    std::size_t position, length;  // position npos: there is none
    std::int32_t id;
  };

  SpecialMatcher() = default;
  explicit SpecialMatcher(std::vector<std::pair<std::string, std::int32_t>> tokens);

  /// The first special token at or after `from`; of several at one place the longest.
  Match find(std::string_view text, std::size_t from) const;

 private:
  std::vector<std::pair<std::string, std::int32_t>> tokens_;  // longest first
  std::array<bool, 256> begins_{};                            // whether a byte begins one
  int single_begin_ = -1;                                     // the byte that begins them all, if there is one
};

}  // namespace bertx::wordpiece
