#include "text/special_matcher.h"

#include <algorithm>

namespace bertx::wordpiece {

SpecialMatcher::SpecialMatcher(std::vector<std::pair<std::string, std::int32_t>> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const auto& token) { return token.first.empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  for (const auto& token : tokens_) begins_[static_cast<unsigned char>(token.first[0])] = true;
  if (std::count(begins_.begin(), begins_.end(), true) == 1) {
    single_begin_ = static_cast<unsigned char>(tokens_[0].first[0]);
  }
}

SpecialMatcher::Match SpecialMatcher::find(std::string_view text, std::size_t from) const {
  constexpr Match kNothing{std::string_view::npos, 0, 0};
  if (tokens_.empty()) return kNothing;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (single_begin_ >= 0) {
      at = text.find(static_cast<char>(single_begin_), at);
      if (at == std::string_view::npos) return kNothing;
    } else if (!begins_[static_cast<unsigned char>(text[at])]) {
      continue;
    }
    for (const auto& [token, id] : tokens_) {
      if (text.substr(at).starts_with(token)) return {at, token.size(), id};
    }
  }
  return kNothing;
}

}  // namespace bertx::wordpiece
