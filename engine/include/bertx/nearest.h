// The nearest name to a misspelt one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bertx {

/// Least number of insertions, deletions, replacements and swaps of neighbours that make b of a (Damerau-Levenshtein in
/// its restricted form: nothing is edited twice).
int edit_distance(std::string_view a, std::string_view b);

/// "; did you mean 'x'?" for the nearest of `names`, or "" where none is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& names);

}  // namespace bertx
