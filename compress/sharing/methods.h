// What each file of sharing/ gives to the table.
#pragma once

#include "recipe/methods.h"

namespace bertx::compress {

void share_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

}  // namespace bertx::compress
