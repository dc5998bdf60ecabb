// The heads of BERT: hidden states -> logits, and the way back.
#pragma once

#include "bertx/model.h"

namespace bertx {

/// hidden [H, T], or [H, B] of the first tokens where there is a pooler -> logits (shapes: Model::forward).
Tensor head_forward(Exec& exec, const Head& head, const Linear* pooler, Tensor hidden, Head::Saved* saved);
/// dlogits (used up) -> dhidden, of the shape of hidden (overwritten).
void head_backward(Exec& exec, Head& head, Linear* pooler, const Head::Saved& saved, Tensor dlogits, Tensor dhidden);

}  // namespace bertx
