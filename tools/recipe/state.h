// Which steps of a recipe an output directory holds: compress_state.json, by which a second call goes on where the
// first one ended.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "recipe/steps.h"

namespace bertx::tools {

/// What the results of a run depend on.
struct RecipeIdentity {
  std::string model, data;         ///< checksums
  std::vector<std::string> names;  ///< of the steps
  std::vector<std::string> steps;  ///< Step::identity
};
RecipeIdentity identity_of(const Steps& steps, const std::filesystem::path& model, const TaskData& data);

class RecipeState {
 public:
  /// Reads what `directory` holds and compares it. Without `overwrite` throws Error(usage) where it holds steps of
  /// another recipe, model or data, naming the first that differs, or files that are no such run's. Writes nothing.
  RecipeState(std::filesystem::path directory, RecipeIdentity now, bool overwrite);

  std::size_t done() const { return done_; }  ///< steps that are finished, from the first on
  std::filesystem::path path_of(std::size_t step) const { return directory_ / now_.names[step]; }

  /// Removes what belongs to steps of another recipe, from the first that differs on.
  void remove_others();
  void begin(std::size_t step);  ///< its directory is from now on a run's
  void finish(std::size_t step);
  /// Whether the directory of a step may hold checkpoints to go on from.
  bool begun(std::size_t step) const { return step < begun_; }

 private:
  void read(bool overwrite);
  void write() const;

  std::filesystem::path directory_;
  RecipeIdentity now_;
  std::size_t done_ = 0, begun_ = 0;
  std::vector<std::string> others_;  ///< directories of steps that are not the recipe's any more
};

}  // namespace bertx::tools
