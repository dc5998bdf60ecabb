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
/// Of a low rank U and V, of a sum its two terms; none of a weight that holds its numbers itself.
std::vector<WeightPart> parts_of(LinearWeight& weight);

/// The weights at the bottom: `weight` itself, or the parts of its parts. A shared part comes every time.
void visit_leaves(LinearWeight& weight, const std::function<void(LinearWeight&)>& leaf);

}  // namespace bertx
