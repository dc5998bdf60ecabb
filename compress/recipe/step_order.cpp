#include "recipe/step_order.h"

#include "bertx/error.h"

namespace bertx::compress {
namespace {

// What a method works on, in the only order in which nothing is undone: whole layers go first, then heads and neurons,
// then what the layers have in common is shared, then matrices are factorised, then their numbers are set to zero.
enum class Stage : std::uint8_t { layers, parts, sharing, factorization, pruning, anywhere };

Stage stage_of(const Method& method) {
  switch (method.family) {
    case Family::structure: return method.name.starts_with("layers") ? Stage::layers : Stage::parts;
    case Family::sharing: return Stage::sharing;
    // The word embeddings are no part of the encoder: nothing else touches them.
    case Family::factorization:
      return method.name.find("embedding") != std::string_view::npos ? Stage::anywhere : Stage::factorization;
    // Its zeros are whole heads and neurons, which it cuts out.
    case Family::pruning: return method.name == "block_movement" ? Stage::parts : Stage::pruning;
  }
  return Stage::anywhere;
}

/// Why `later` may not come after `earlier`; empty: it may.
std::string_view objection(Stage earlier, Stage later) {
  if (earlier == Stage::anywhere || later == Stage::anywhere) return {};
  if (later == Stage::sharing && earlier == Stage::parts) {
    return "layers that have lost different heads or neurons have nothing to share";
  }
  if (later >= earlier) return {};
  switch (earlier) {
    case Stage::layers:
    case Stage::anywhere: return {};
    case Stage::parts: return "heads and neurons of layers that are dropped were cut for nothing";
    case Stage::sharing: return "layers that share their weights cannot lose parts one by one";
    case Stage::factorization:
      return later == Stage::sharing ? "factors of different layers have no common basis to be averaged in"
                                     : "the factors were made for the whole matrices";
    case Stage::pruning:
      return later == Stage::sharing         ? "averages of weights with different zeros have almost none"
             : later == Stage::factorization ? "factors of a sparse matrix are dense: its zeros are lost"
                                             : "the zeros were placed for the whole matrices";
  }
  return {};
}

bool states_sparsity(const RecipeStep& step, const Method& method) {
  return method.takes("sparsity") && step.recipe.sparsity_is_stated;
}

/// Zeros that one step has made are not to come back in the next.
void check_sparsities(const RecipeFile& file, std::size_t earlier, std::size_t later) {
  const RecipeStep &a = file.steps[earlier], &b = file.steps[later];
  const Method &first = find_method(a.method), &second = find_method(b.method);
  const bool both_zero = stage_of(first) == Stage::pruning && stage_of(second) == Stage::pruning;
  const bool comparable = a.method == b.method || both_zero;
  if (!comparable || !states_sparsity(a, first) || !states_sparsity(b, second)) return;
  if (b.recipe.sparsity >= a.recipe.sparsity) return;
  fail(ErrorKind::bad_input, file.where(later), ": sparsity: found ", b.recipe.sparsity, ", expected at least ",
       a.recipe.sparsity, ", which step ", earlier + 1, " (", a.name(), ") has reached before");
}

}  // namespace

void check_order(const RecipeFile& file) {
  for (std::size_t later = 0; later < file.steps.size(); ++later) {
    if (file.steps[later].method.empty()) continue;
    for (std::size_t earlier = 0; earlier < later; ++earlier) {
      const RecipeStep &a = file.steps[earlier], &b = file.steps[later];
      if (a.method.empty()) continue;
      const Stage first = stage_of(find_method(a.method)), second = stage_of(find_method(b.method));
      if (const std::string_view why = objection(first, second); !why.empty()) {
        const bool other_way_round = objection(second, first).empty();
        fail(ErrorKind::bad_input, file.where(later), ": method: found ", b.method, " after step ", earlier + 1, " (",
             a.method, "), expected ", other_way_round ? "it before" : "only one of the two", ": ", why);
      }
      check_sparsities(file, earlier, later);
    }
  }
}

}  // namespace bertx::compress
