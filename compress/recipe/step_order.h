// Which steps may follow which: a later step must not undo what an earlier one has done.
#pragma once

#include "bertx/recipe_file.h"

namespace bertx::compress {

/// Throws Error(bad_input) naming the later step, the earlier one and why they do not fit in this order.
void check_order(const RecipeFile& file);

}  // namespace bertx::compress
