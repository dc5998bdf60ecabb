// The methods of compression and their options on the command line: flags, their checks, and the page that lists them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "bertx/recipe.h"
#include "common/training.h"

namespace bertx::tools {

using Families = std::initializer_list<compress::Family>;

/// --method with the methods of `families`, the first of them as default, and their options.
void add_method_flags(Flags& flags, std::string_view title, Families families, compress::Recipe& recipe);
/// What no flag says alone: options that the method does not read, the seed and the learning rate of the training.
/// Throws Error(usage).
void finish_method_flags(const Flags& flags, compress::Recipe& recipe, const TrainFlags& train);

/// `bertx help methods`: every method with its summary, its paper and its options.
std::string methods_page();

}  // namespace bertx::tools
