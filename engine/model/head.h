// The heads of BERT: hidden states -> logits, and the way back.
#pragma once

#include "bertx/model.h"

namespace bertx {

/// hidden [H, T], first_tokens i32 [1, B] -> logits (shapes: Model::forward). `pooler` may be null.
Tensor head_forward(Exec& exec, const Head& head, const Linear* pooler, Tensor hidden, Tensor first_tokens,
                    Head::Saved* saved);
/// dlogits (used up) -> dhidden [H, T] (overwritten).
void head_backward(Exec& exec, Head& head, Linear* pooler, const Head::Saved& saved, Tensor first_tokens,
                   Tensor dlogits, Tensor dhidden);

}  // namespace bertx
