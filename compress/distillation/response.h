// The distance from a teacher's answers: Hinton, Vinyals & Dean 2015 (1503.02531).
#pragma once

#include <span>

#include "bertx/model.h"

namespace bertx::compress {

/// Of logits [outputs, B] from the teacher's (`answers` has the same layout and outlives the use of dlogits); 0 where
/// they are equal. dlogits is overwritten with its gradient times `scale`:
///   single label   T² KL(softmax(z'/T) ‖ softmax(z/T)), mean over the texts; T (p - p') / B
///   regression     mean of (z - z')²
///   multi-label    KL(σ(z') ‖ σ(z)), mean over all outputs
/// `answers` of multi-label become probabilities.
double response_loss(Exec& exec, ProblemKind problem, Tensor logits, std::span<float> answers, double temperature,
                     double scale, Tensor dlogits);

}  // namespace bertx::compress
