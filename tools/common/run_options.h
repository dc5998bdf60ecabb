// Flags that every command has, and what they set up: threads, the seed, the backend, the log.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "bertx/backend.h"
#include "common/flags.h"

namespace bertx::tools {

struct RunOptions {
  std::int64_t threads = 0, seed = 42;
  std::string device = "cpu", log_level = "info", dtype = "f32";
};

void add_run_flags(Flags& flags, RunOptions& options);
/// --dtype f32|bf16|tf32, of the commands that only run a model.
void add_dtype_flag(Flags& flags, RunOptions& options);
/// Sets the log level and the number of threads.
void apply_run_options(const RunOptions& options);
/// The same, and the backend.
std::unique_ptr<Backend> start_backend(const RunOptions& options);

/// A value that must be given. Throws Error(usage) naming the flag.
void require(const std::string& value, std::string_view flag, std::string_view meaning);

/// Creates `directory` and writes into it and removes what it wrote, so that a run of an hour does not end with "cannot
/// write". Throws Error(io) where that fails.
void check_writable_directory(const std::filesystem::path& directory);
/// The same, and Error(usage) where it is the model's own directory.
void check_output_directory(const std::filesystem::path& directory, const std::filesystem::path& model);

/// A file that will be written later: Error(io) naming --`flag` where it cannot be. What is there stays as it is.
void check_writable_file(const std::filesystem::path& file, std::string_view flag);

}  // namespace bertx::tools
