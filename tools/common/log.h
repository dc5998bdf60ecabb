// Messages to people, on stderr: --log_level decides which.
#pragma once

#include <string>
#include <string_view>

#include "bertx/error.h"

namespace bertx::tools {

enum class LogLevel : int { error, warning, info, debug };

void set_log_level(std::string_view name);  ///< error | warning | info | debug
bool log_enabled(LogLevel level);
/// Called before each message, e.g. to take a progress bar off the screen; may be empty.
void set_log_clear(void (*clear)());

void log_line(LogLevel level, std::string_view text);

template <class... Parts>
void log(LogLevel level, const Parts&... parts) {
  if (log_enabled(level)) log_line(level, text(parts...));
}

}  // namespace bertx::tools
