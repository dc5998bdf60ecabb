#include "common/log.h"

#include <cstdio>

namespace bertx::tools {
namespace {
LogLevel g_level = LogLevel::info;
void (*g_clear)() = nullptr;
}  // namespace

void set_log_level(std::string_view name) {
  g_level = name == "error"     ? LogLevel::error
            : name == "warning" ? LogLevel::warning
            : name == "debug"   ? LogLevel::debug
                                : LogLevel::info;
}

bool log_enabled(LogLevel level) { return level <= g_level; }

void set_log_clear(void (*clear)()) { g_clear = clear; }

void log_line(LogLevel level, std::string_view text) {
  if (g_clear != nullptr) g_clear();
  const char* mark = level == LogLevel::error ? "error: " : level == LogLevel::warning ? "warning: " : "";
  std::fprintf(stderr, "%s%.*s\n", mark, static_cast<int>(text.size()), text.data());
}

}  // namespace bertx::tools
