// A recipe file: what to do to a model, step by step, as JSON; checked as a whole before anything runs.
//
//   {
//     "description": "half the heads, then 90 % zeros",
//     "train": {"learning_rate": 3e-5},
//     "steps": [
//       {"method": "heads", "sparsity": 0.5},
//       {"method": "fine_tune", "train": {"num_train_epochs": 1}},
//       {"method": "magnitude", "sparsity": 0.9, "train": {"num_train_epochs": 3}}
//     ]
//   }
//
// A step names a method and its options. With "train" the method acts during a training (an empty object: as the
// settings above say), without it at once. "fine_tune", or no method, only trains. The "train" beside the steps holds
// for each of them; a step's own settings go before it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/config.h"
#include "bertx/recipe.h"

namespace bertx::compress {

/// A setting of a training as the file states it, e.g. {"num_train_epochs", "3"}: a flag of `bertx train`.
struct TrainSetting {
  std::string name, value;
};

struct RecipeStep {
  std::string method;                  ///< empty: it only trains
  Recipe recipe;                       ///< the method with its options
  std::vector<std::string> given;      ///< names of the options that the file states
  bool trains = false;                 ///< during a training, else at once
  std::vector<TrainSetting> training;  ///< of this step alone
  std::string json;                    ///< the step as it stands in the file, keys sorted

  std::string_view name() const { return method.empty() ? std::string_view("fine_tune") : std::string_view(method); }
};

struct RecipeFile {
  std::filesystem::path path;
  std::string description;
  std::vector<TrainSetting> training;  ///< of all steps that train
  std::vector<RecipeStep> steps;

  /// "recipe.json: step 2 (heads)": how messages about a step begin; from 0.
  std::string where(std::size_t step) const;
};

/// Throws Error(bad_input) that names file, step, key, what was found and what was expected: for malformed JSON,
/// unknown methods and options, options of another method, wrong types, values out of range, and steps of which a later
/// one would undo what an earlier one has done. Error(io) when the file cannot be read.
RecipeFile read_recipe_file(const std::filesystem::path& path);
/// The same for a text; `source` stands for the file in messages.
RecipeFile parse_recipe(std::string_view json, const std::filesystem::path& source);

/// What only the model can tell, e.g. a rank above the full one. Throws Error(bad_input) as read_recipe_file does.
void check_against(const RecipeFile& file, const Config& config);

}  // namespace bertx::compress
