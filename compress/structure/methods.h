// What each file of structure/ gives to the table.
#pragma once

#include "recipe/methods.h"

namespace bertx::compress {

void heads_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void neurons_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void mask_search_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void layers_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

}  // namespace bertx::compress
