#include "weights/parts.h"

#include "bertx/sum_weight.h"
#include "bertx/tucker_weight.h"

namespace bertx {

std::vector<WeightPart> parts_of(LinearWeight& weight) {
  if (const auto* low_rank = dynamic_cast<const LowRankWeight*>(&weight))
    return {{".u", low_rank->u().get()}, {".v", low_rank->v().get()}};
  if (const auto* sum = dynamic_cast<const SumWeight*>(&weight))
    return {{".first", sum->first().get()}, {".second", sum->second().get()}};
  if (const auto* tucker = dynamic_cast<const TuckerWeight*>(&weight))
    return {{".left", tucker->basis().left.get()}, {".right", tucker->basis().right.get()}};
  return {};
}

void visit_parts(LinearWeight& weight, const std::function<void(LinearWeight&, std::size_t derived_bytes)>& seen) {
  std::size_t own = weight.derived_bytes();
  for (const WeightPart& part : parts_of(weight)) {
    own -= part.weight->derived_bytes();
    visit_parts(*part.weight, seen);
  }
  seen(weight, own);
}

}  // namespace bertx
