// What each file of factorization/ gives to the table.
#pragma once

#include "recipe/methods.h"

namespace bertx::compress {

void svd_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void fwsvd_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void drone_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void low_rank_sparse_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void embedding_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);
void tucker_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration);

}  // namespace bertx::compress
