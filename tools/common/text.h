// Words for people: the nearest name to a misspelt one, sizes, durations, and text that is safe on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bertx::tools {

/// Least number of insertions, deletions, replacements and swaps of neighbours that make b of a (Damerau-Levenshtein in
/// its restricted form: nothing is edited twice).
int edit_distance(std::string_view a, std::string_view b);

/// "; did you mean 'x'?" for the nearest of `names`, or "" where none is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& names);

/// Control characters and malformed UTF-8 as \xNN, without quotes.
std::string printable(std::string_view text);

std::string bytes_text(double bytes);         ///< "12.3 MiB"
std::string count_text(std::int64_t n);       ///< "12,345,678"
std::string scaled_text(double n);            ///< "12.3 G", "4.5 M", "17"
std::string duration_text(double seconds);    ///< "0:42", "12:05", "1:02:03"
std::string fixed(double value, int digits);  ///< locale-independent
std::string percent_text(double share);       ///< 0.1234 -> "12.3 %"

}  // namespace bertx::tools
