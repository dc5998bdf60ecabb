// A recipe at work: step after step, each from the directory of the one before into one of its own.
#pragma once

#include <filesystem>

#include "recipe/state.h"

namespace bertx::tools {

/// Runs the steps that are not done; `data` is what all of them see. A step that an earlier call has begun goes on from
/// its newest checkpoint. Returns the exit code: not 0 where a signal ended it.
int run_steps(Steps& steps, RecipeState& state, TaskData& data, const std::filesystem::path& model);

/// The files of `step` also lie in `directory` then; what else is there stays.
void publish(const std::filesystem::path& step, const std::filesystem::path& directory);

}  // namespace bertx::tools
