#include "recipe/run.h"

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/signals.h"
#include "common/log.h"

namespace bertx::tools {
namespace {

namespace fs = std::filesystem;

/// Goes on from the newest checkpoint, or begins in an empty directory. A checkpoint before the first update holds
/// nothing that a new beginning does not make again.
void choose_beginning(TrainFlags& train, const fs::path& directory, bool begun) {
  train.options.overwrite_output_dir = false;
  if (begun) {
    std::vector<std::string> skipped;
    const fs::path newest = find_last_checkpoint(directory, &skipped);
    for (const std::string& why : skipped) log(LogLevel::warning, "skipped a checkpoint: ", why);
    if (!newest.empty() && newest.filename() != "checkpoint-0") {
      train.options.resume_from_checkpoint = newest;
      return;
    }
  }
  train.options.resume_from_checkpoint.reset();
  std::error_code error;
  fs::remove_all(directory, error);
  if (error) fail(ErrorKind::io, directory.string(), ": cannot be removed: ", error.message());
}

/// One step. Returns the exit code; what is wrong with what the steps before have made begins with the step's name.
int run_step(Step& step, TaskData& data) {
  Compression& compression = step.compression;
  const bool has_data = data.train || !data.validation.empty();
  try {
    Setup setup = prepare_compression(compression, has_data ? &data : nullptr);
    const std::unique_ptr<TrainHook> hook = make_hook(setup, compression);
    Figures figures;
    const int code = run_compression(setup, compression, hook.get(), &figures);
    if (has_data) data = std::move(setup.data);
    return code;
  } catch (const Error& error) {
    fail(error.kind(), step.where, ": ", error.what());
  }
}

}  // namespace

int run_steps(Steps& steps, RecipeState& state, TaskData& data, const fs::path& model) {
  const std::size_t count = steps.steps.size();
  if (state.done() > 0) log(LogLevel::info, "done by an earlier call: ", state.done(), " of ", count, " steps");
  for (std::size_t i = state.done(); i < count; ++i) {
    if (const int signal = pending_signal(); signal != 0) return 128 + signal;
    Step& step = steps.steps[i];
    TrainFlags& train = step.compression.train;
    train.model = i == 0 ? model.string() : state.path_of(i - 1).string();
    train.output_dir = state.path_of(i).string();
    train.options.output_dir = train.output_dir;
    train.data = steps.whole.data;
    choose_beginning(train, train.output_dir, state.begun(i));
    log(LogLevel::info, "step ", i + 1, " of ", count, ": ", step.name, ", ",
        step.compression.trains ? "in a training" : "at once");
    state.begin(i);
    if (const int code = run_step(step, data); code != 0) {
      log(LogLevel::warning, "stopped in ", step.name, "; the same command goes on from there");
      return code;
    }
    state.finish(i);
  }
  return 0;
}

void publish(const fs::path& step, const fs::path& directory) {
  std::error_code error;
  const fs::path linked = directory / ".bertx-linked";
  for (const fs::directory_entry& entry : fs::directory_iterator(step)) {
    if (!entry.is_regular_file()) continue;
    const fs::path to = directory / entry.path().filename();
    fs::remove(linked, error);
    fs::create_hard_link(entry.path(), linked, error);
    if (error) fs::copy_file(entry.path(), linked, error);  // a file system without links
    if (!error) fs::rename(linked, to, error);
    if (error) fail(ErrorKind::io, to.string(), ": cannot be written: ", error.message());
    fs::remove(linked, error);  // a rename to another link of the same file does nothing
  }
}

}  // namespace bertx::tools
