#include "common/run_options.h"

#include <omp.h>
#include <unistd.h>

#include <limits>
#include <system_error>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/log.h"

namespace bertx::tools {

void add_run_flags(Flags& flags, RunOptions& options) {
  flags.group("General")
      .integer("threads", &options.threads, 0, 1024, "threads; 0: OMP_NUM_THREADS, else as many as there are cores")
      .integer("seed", &options.seed, 0, std::numeric_limits<std::int64_t>::max(), "of all randomness")
      .choice("device", &options.device, {"cpu", "cuda", "reference"},
              "cpu; cuda where this build has it; reference: slow, in double")
      .choice("log_level", &options.log_level, {"error", "warning", "info", "debug"}, "of messages on stderr");
}

void add_dtype_flag(Flags& flags, RunOptions& options) {
  flags.choice("dtype", &options.dtype, {"f32", "bf16", "tf32"},
               "of the inputs of dense products; bf16: half the weights to read, twice the rate where the CPU has it; "
               "tf32: f32 by a GPU's tensor cores, with 10 bits behind the point");
}

void apply_run_options(const RunOptions& options) {
  set_log_level(options.log_level);
  if (options.threads > 0) omp_set_num_threads(static_cast<int>(options.threads));
}

std::unique_ptr<Backend> start_backend(const RunOptions& options) {
  apply_run_options(options);
  auto backend =
      make_backend(options.device, {options.dtype == "bf16" ? DType::bf16 : DType::f32, options.dtype == "tf32"});
  log(LogLevel::debug, "backend: ", backend->description(), "; threads: ", omp_get_max_threads());
  return backend;
}

void require(const std::string& value, std::string_view flag, std::string_view meaning) {
  if (value.empty()) fail(ErrorKind::usage, "--", flag, " is missing; expected ", meaning);
}

void check_writable_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    fail(ErrorKind::io, "--output_dir: ", directory.string(), ": cannot create the directory: ", error.message());
  }
  const auto probe = directory / text(".bertx-can-write-", ::getpid());
  write_text_file(probe, "");
  std::filesystem::remove(probe, error);
}

void check_output_directory(const std::filesystem::path& directory, const std::filesystem::path& model) {
  std::error_code error;
  if (std::filesystem::weakly_canonical(directory, error) == std::filesystem::weakly_canonical(model, error)) {
    fail(ErrorKind::usage, "--output_dir: found '", directory.string(),
         "', the directory of the model itself; expected another one");
  }
  check_writable_directory(directory);
}

void check_writable_file(const std::filesystem::path& file, std::string_view flag) {
  const auto refuse = [&](const std::string& why) {
    fail(ErrorKind::io, "--", flag, ": ", file.string(), ": cannot be written: ", why);
  };
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) refuse("it is a directory");
  const auto probe = file.parent_path() / text(".bertx-can-write-", ::getpid());
  try {
    write_text_file(probe, "");
  } catch (const Error& failed) {
    refuse(failed.what());
  }
  std::filesystem::remove(probe, error);
}

}  // namespace bertx::tools
