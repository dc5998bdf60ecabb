#include "weights/parts.h"

#include "bertx/sum_weight.h"

namespace bertx {

std::vector<WeightPart> parts_of(LinearWeight& weight) {
  if (const auto* low_rank = dynamic_cast<const LowRankWeight*>(&weight))
    return {{".u", low_rank->u().get()}, {".v", low_rank->v().get()}};
  if (const auto* sum = dynamic_cast<const SumWeight*>(&weight))
    return {{".first", sum->first().get()}, {".second", sum->second().get()}};
  return {};
}

void visit_leaves(LinearWeight& weight, const std::function<void(LinearWeight&)>& leaf) {
  const std::vector<WeightPart> parts = parts_of(weight);
  if (parts.empty()) leaf(weight);
  for (const WeightPart& part : parts) visit_leaves(*part.weight, leaf);
}

}  // namespace bertx
