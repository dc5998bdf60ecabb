// What was measured, in a file of the user's cache: one a processor, kind of kernels and version of bertx.
//
//   $BERTX_TUNE_FILE (of a GPU with ".cuda" behind it), else
//   $XDG_CACHE_HOME/bertx/tuning-<version>-<kernels>-<processor>.json, else the same under ~/.cache
//
// A file that is missing, damaged or of another processor counts as empty, and one that cannot be written is left:
// then the next process measures again.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "backend/tuning/timings.h"

namespace bertx {

/// What measurements hold for.
struct Machine {
  std::string processor;  ///< in the words of its maker
  std::string kernels;    ///< an instruction set, or "cuda"
};
/// The file of a machine, as above, "" where there is no place for one; `suffix` follows what BERTX_TUNE_FILE names.
std::string tuning_path(const Machine& machine, const std::string& suffix = "");

class TuningFile {
 public:
  /// Reads `path`; empty: no file.
  TuningFile(std::string path, Machine machine);

  std::optional<Timings> find(const std::string& key);
  /// Remembers in this process and, as far as possible, in the file, keeping what other processes wrote there.
  void put(const std::string& key, const Timings& timings);

 private:
  std::map<std::string, Timings> read() const;

  std::mutex mutex_;
  std::string path_;  ///< empty: no place for a file
  Machine machine_;
  std::map<std::string, Timings> entries_;
};

}  // namespace bertx
