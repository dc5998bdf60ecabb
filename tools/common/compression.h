// One compression, by the flags of a command or by a step of a recipe: a model in, a smaller one out, at once or while
// it is trained.
#pragma once

#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>

#include "bertx/compress.h"
#include "commands.h"
#include "common/training.h"

namespace bertx::tools {

/// What is done to a model.
struct Compression {
  TrainFlags train;
  compress::Recipe recipe;
  bool has_method = true;  ///< false: it is only trained
  bool trains = false;     ///< in a training, else at once
};

/// Whether the method runs in a training, as it and the data ask; `at_once` where that is asked for. Throws
/// Error(usage) where the method lacks what it needs.
bool decide_training(const Compression& compression, bool at_once);

/// Model, tokenizer and data; `ready` is data that is there already. Without training data the model is compressed
/// with what is there, and measured where validation data is given.
Setup prepare_compression(Compression& compression, TaskData* ready = nullptr);

/// How the compression takes part in its training; null where nothing does.
std::unique_ptr<TrainHook> make_hook(const Setup& setup, const Compression& compression);

/// Compresses, writes the model into the output directory, measures it. Returns the exit code.
int run_compression(Setup& setup, const Compression& compression, TrainHook* hook, Figures* figures);

/// A command that does so; they differ in the methods that they offer.
struct CompressionCommand {
  std::string_view name, summary, title;             ///< title: of the group of flags
  std::initializer_list<compress::Family> families;  ///< whose methods it offers; the first method is the default
  std::initializer_list<std::pair<std::string_view, std::string_view>> examples;  ///< command line, comment
};

/// Exit code of the process.
int compression_command(const CompressionCommand& command, const Arguments& arguments);

}  // namespace bertx::tools
