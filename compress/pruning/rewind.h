// The parameters of a model as they were at one step of a training, to go back to.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bertx/model.h"

namespace bertx::compress {

/// Lies in host memory, in the backend's own type, so that going back changes no bit.
class RewindPoint {
 public:
  bool is_set() const { return !values_.empty(); }
  /// All parameters that are trained.
  void take(Backend& backend, Model& model);
  /// Into the same model: representation and shapes have not changed. Throws Error(bad_input) where they have, as after
  /// loading a file of another training.
  void restore(Backend& backend, Model& model) const;
  void clear() { values_.clear(); }

  /// `path` does not exist where nothing is set.
  void save(const std::filesystem::path& path) const;
  void load(const std::filesystem::path& path);

 private:
  struct Value {
    std::int64_t rows = 0, cols = 0;
    DType type = DType::f32;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Value> values_;
};

}  // namespace bertx::compress
