// The commands that make a model smaller: a model in, a smaller one out, at once or while it is trained. They differ in
// the methods that they offer.
#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include "bertx/recipe.h"
#include "commands.h"

namespace bertx::tools {

struct CompressionCommand {
  std::string_view name, summary, title;             ///< title: of the group of flags
  std::initializer_list<compress::Family> families;  ///< whose methods it offers; the first method is the default
  std::initializer_list<std::pair<std::string_view, std::string_view>> examples;  ///< command line, comment
};

/// Exit code of the process.
int compression_command(const CompressionCommand& command, const Arguments& arguments);

}  // namespace bertx::tools
