#include "text/vocabulary.h"

#include <bit>
#include <functional>

#include "bertx/error.h"
#include "bertx/files.h"

namespace bertx::wordpiece {

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::vector<std::string>& warnings)
    : tokens_(std::move(tokens)), slots_(std::bit_ceil(2 * tokens_.size() + 2), -1) {
  constexpr int kNamed = 3;
  int duplicates = 0;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    std::int32_t& slot = slots_[slot_of(tokens_[i])];
    if (slot >= 0 && !tokens_[i].empty() && ++duplicates <= kNamed) {
      warnings.push_back(text("vocabulary: the token ", quote(tokens_[i]), " has the ids ", slot, " and ", i,
                              "; the later one is used"));
    }
    slot = static_cast<std::int32_t>(i);
  }
  if (duplicates > kNamed) {
    warnings.push_back(text("vocabulary: ", duplicates, " tokens occur more than once in all"));
  }
}

std::optional<int> Vocabulary::find(std::string_view token) const {
  const std::int32_t id = slots_[slot_of(token)];
  return id < 0 ? std::nullopt : std::optional<int>(id);
}

std::size_t Vocabulary::slot_of(std::string_view token) const {
  std::size_t slot = std::hash<std::string_view>{}(token);
  for (;; ++slot) {
    slot &= slots_.size() - 1;
    if (slots_[slot] < 0 || tokens_[static_cast<std::size_t>(slots_[slot])] == token) return slot;
  }
}

}  // namespace bertx::wordpiece
