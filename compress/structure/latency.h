// How long a layer takes by the number of its heads and neurons, measured on the backend at hand.
#pragma once

#include "structure/search.h"

namespace bertx::compress {

/// Milliseconds for one text of 128 tokens (or as many as the model takes), over those of a layer without heads and
/// neurons: some numbers of dense heads and neurons are measured, as prepared for inference; between them along lines.
PartCosts measure_part_latency(Backend& backend, const Model& model);

}  // namespace bertx::compress
