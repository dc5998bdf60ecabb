// What was measured, in a file of the user's cache: one a processor, instruction set and version of bertx.
//
//   $BERTX_TUNE_FILE, else $XDG_CACHE_HOME/bertx/tuning-<version>-<isa>-<processor>.json, else under ~/.cache
//
// A file that is missing, damaged or of another processor counts as empty, and one that cannot be written is left:
// then the next process measures again.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace bertx::cpu {

/// Milliseconds by number of tokens and name of the candidate.
using Timings = std::map<std::int64_t, std::map<std::string, double>>;

class TuningFile {
 public:
  /// That of this process and machine.
  static TuningFile& instance();
  /// Reads `path`; empty: no file.
  explicit TuningFile(std::string path);

  std::optional<Timings> find(const std::string& key);
  /// Remembers in this process and, as far as possible, in the file, keeping what other processes wrote there.
  void put(const std::string& key, const Timings& timings);

 private:
  std::map<std::string, Timings> read() const;

  std::mutex mutex_;
  std::string path_, processor_;  ///< path_ empty: no place for a file
  std::map<std::string, Timings> entries_;
};

}  // namespace bertx::cpu
