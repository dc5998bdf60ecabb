// --dry_run: what a command would do and take, without doing it.
#pragma once

#include <string>

#include "common/training.h"

namespace bertx::tools {

/// Shapes, parameters, steps, multiplies, and memory by kind of a training with `hook` (or null), as text or as JSON.
/// The model is left in the representation that the hook gives it.
std::string describe_training(Setup& setup, const TrainFlags& train, TrainHook* hook);
/// Shapes, parameters and multiplies of a model that is pruned at once.
std::string describe_model(Model& model, bool json);

}  // namespace bertx::tools
