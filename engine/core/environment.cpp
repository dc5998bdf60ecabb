#include "core/environment.h"

#include <cstdlib>
#include <cstring>

#include "bertx/error.h"
#include "bertx/files.h"

namespace bertx {

bool switched_on(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr || std::strcmp(value, "") == 0 || std::strcmp(value, "on") == 0) return true;
  if (std::strcmp(value, "off") == 0) return false;
  fail(ErrorKind::usage, "environment variable ", variable, ": found ", quote(value), ", expected on or off");
}

}  // namespace bertx
