// The steps of a recipe as they will run: each with the settings that the command line, the file and the step itself
// state, checked before the first of them begins.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bertx/recipe_file.h"
#include "common/compression.h"

namespace bertx::tools {

struct Step {
  std::string name;         ///< "step-1-heads": its directory
  std::string where;        ///< "recipe.json: step 1 (heads)": how messages begin
  Compression compression;  ///< without the model and the output directory, which the steps before decide
  /// What its result depends on beside the steps before, the model and the data.
  std::string identity;
};

struct Steps {
  TrainFlags whole;  ///< model, data, output: what holds for all steps
  std::vector<Step> steps;
};

/// `flags` are those of the command line; what the file states goes before them, and a step's own settings before
/// those. Throws Error(bad_input) that names file, step and key, Error(usage) for what the command line lacks.
Steps plan_steps(const compress::RecipeFile& file, const Flags& flags);

/// What only the data can tell: whether there is something to measure on, and the names of its metrics. Throws
/// Error(usage).
void check_against(const Steps& steps, const TaskData& data);

/// The plan for --dry_run: what each step does, with how many updates, and what it needs; `done`, from 0, counts those
/// that an earlier call has finished.
std::string describe_steps(const Steps& steps, const compress::RecipeFile& file, const TaskData& data,
                           std::size_t done);

}  // namespace bertx::tools
