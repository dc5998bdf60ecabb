// What composite weights are made of.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "bertx/weight.h"

namespace bertx {

struct WeightPart {
  std::string_view suffix;  ///< of its name in the walk and in files
  LinearWeight* weight;
};
/// Of a low rank U and V, of a sum its two terms, of a Tucker weight U and V (its cores and their mixture are its own);
/// none of a weight that holds its numbers itself.
std::vector<WeightPart> parts_of(LinearWeight& weight);

/// The weight, its parts and their parts, each with its derived_bytes() beside those of its parts. A shared part comes
/// every time.
void visit_parts(LinearWeight& weight, const std::function<void(LinearWeight&, std::size_t derived_bytes)>& seen);

}  // namespace bertx
