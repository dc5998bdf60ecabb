#include "bertx/backend.h"

namespace bertx {

void apply_epilogue(Backend& backend, const Epilogue& epilogue, Tensor y) {
  if (epilogue.residual.empty()) {
    if (!epilogue.bias.empty() || epilogue.activation != Activation::none) {
      backend.bias_activation(y, epilogue.bias, epilogue.activation, y);
    }
  } else if (epilogue.activation == Activation::none) {
    backend.bias_dropout_residual(y, epilogue.bias, {}, epilogue.residual);
  } else {
    backend.bias_activation(y, epilogue.bias, epilogue.activation, y);
    backend.add(epilogue.residual, y);
  }
}

}  // namespace bertx
