#include "bertx/nearest.h"

#include <algorithm>

namespace bertx {

int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t columns = b.size() + 1;
  std::vector<int> cost((a.size() + 1) * columns);
  const auto at = [&](std::size_t i, std::size_t j) -> int& { return cost[i * columns + j]; };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = static_cast<int>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replaced = at(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  }
  return cost.back();
}

std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& names) {
  if (name.size() > 64) return {};
  std::string_view best;
  int least = 1 + static_cast<int>(name.size()) / 3;  // beyond a third of its letters it is another word
  for (const std::string_view candidate : names) {
    const int distance = edit_distance(name, candidate);
    // A beginning ("model" for "model_name_or_path") counts as one slip.
    const int cost = name.size() >= 3 && candidate.starts_with(name) ? std::min(distance, 1) : distance;
    if (cost < least || (cost == least && best.empty())) {
      best = candidate;
      least = cost;
    }
  }
  return best.empty() ? std::string() : "; did you mean '" + std::string(best) + "'?";
}

}  // namespace bertx
