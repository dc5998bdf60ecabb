#include "backend/tuning/tuning_wanted.h"

#include "core/environment.h"

namespace bertx {

bool tuning_wanted() { return switched_on("BERTX_TUNE"); }

}  // namespace bertx
