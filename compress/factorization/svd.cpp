// Each matrix of the encoder by its own truncated singular value decomposition, the best factors of their rank in the
// Frobenius norm (Eckart & Young 1936; of BERT Noach & Goldberg 2020, "Compressing pre-trained language models by
// matrix decomposition"). Query, key and value are three matrices. Both factors learn in training.
#include "factorization/factorizer.h"
#include "factorization/methods.h"

namespace bertx::compress {

void svd_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration&) {
  Factorizer factorizer(backend, model, recipe);
  for (const Target& target : factorizer.targets()) factorizer.factorize(target, plain_metric());
  factorizer.keep();
}

}  // namespace bertx::compress
