// Words for people: sizes, durations, and text that is safe on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bertx/nearest.h"

namespace bertx::tools {

/// Control characters and malformed UTF-8 as \xNN, without quotes.
std::string printable(std::string_view text);

std::string bytes_text(double bytes);         ///< "12.3 MiB"
std::string count_text(std::int64_t n);       ///< "12,345,678"
std::string scaled_text(double n);            ///< "12.3 G", "4.5 M", "17"
std::string duration_text(double seconds);    ///< "0:42", "12:05", "1:02:03"
std::string fixed(double value, int digits);  ///< locale-independent
std::string percent_text(double share);       ///< 0.1234 -> "12.3 %"

}  // namespace bertx::tools
