#include "backend/tuning_wanted.h"

#include <cstdlib>
#include <cstring>

#include "bertx/error.h"
#include "bertx/files.h"

namespace bertx {

bool tuning_wanted() {
  const char* const value = std::getenv("BERTX_TUNE");
  if (value == nullptr || std::strcmp(value, "") == 0 || std::strcmp(value, "on") == 0) return true;
  if (std::strcmp(value, "off") == 0) return false;
  fail(ErrorKind::usage, "environment variable BERTX_TUNE: found ", quote(value), ", expected on or off");
}

}  // namespace bertx
