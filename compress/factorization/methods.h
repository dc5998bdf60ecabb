// What each file of factorization/ gives to the table.
#pragma once

#include "recipe/methods.h"

namespace bertx::compress {

void tucker_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

}  // namespace bertx::compress
