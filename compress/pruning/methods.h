// What each file of pruning/ gives to the table.
#pragma once

#include "recipe/methods.h"

namespace bertx::compress {

std::unique_ptr<TrainHook> make_magnitude(const Recipe& recipe, const Calibration& calibration);
void magnitude_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_iterative_magnitude(const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_random(const Recipe& recipe, const Calibration& calibration);
void random_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_movement(const Recipe& recipe, const Calibration& calibration);
std::unique_ptr<TrainHook> make_soft_movement(const Recipe& recipe, const Calibration& calibration);
std::unique_ptr<TrainHook> make_block_movement(const Recipe& recipe, const Calibration& calibration);
std::unique_ptr<TrainHook> make_l0(const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_wanda(const Recipe& recipe, const Calibration& calibration);
void wanda_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_sparsegpt(const Recipe& recipe, const Calibration& calibration);
void sparsegpt_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

std::unique_ptr<TrainHook> make_obert(const Recipe& recipe, const Calibration& calibration);
void obert_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

}  // namespace bertx::compress
