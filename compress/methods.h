// What each method's file gives to the table of methods.
#pragma once

#include "bertx/compress.h"

namespace bertx::compress {

std::unique_ptr<TrainHook> make_magnitude(const Recipe& recipe, const Calibration& calibration);
void magnitude_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_movement(const Recipe& recipe, const Calibration& calibration);
std::unique_ptr<TrainHook> make_soft_movement(const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_heads(const Recipe& recipe, const Calibration& calibration);
void heads_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

}  // namespace bertx::compress
