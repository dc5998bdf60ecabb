// What stands between the products: bias, activation, dropout, residual, LayerNorm.
#include "backend/cuda/cuda.h"

namespace bertx {

using cuda::const_matrix, cuda::dropout_mask, cuda::matrix, cuda::pointwise, cuda::shape_of, cuda::vector;

void CudaBackend::bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) {
  cuda::bias_activation(device_.stream(), matrix(x), vector(bias), pointwise(activation), matrix(y), shape_of(x));
}

void CudaBackend::activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) {
  cuda::activation_grad(device_.stream(), const_matrix(x), pointwise(activation), const_matrix(dy), matrix(dx),
                        shape_of(x));
}

void CudaBackend::bias_grad(Tensor dy, Tensor dbias) {
  cuda::bias_grad(device_.stream(), const_matrix(dy), vector(dbias), shape_of(dy));
}

void CudaBackend::bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) {
  cuda::finish(device_.stream(), matrix(y), vector(bias), cuda::Pointwise::none, dropout_mask(dropout),
               const_matrix(residual), shape_of(y));
}

void CudaBackend::dropout(Tensor x, Dropout dropout, Tensor y) {
  cuda::dropout(device_.stream(), const_matrix(x), dropout_mask(dropout), matrix(y), shape_of(x));
}

void CudaBackend::add(Tensor x, Tensor y) { cuda::add(device_.stream(), const_matrix(x), matrix(y), shape_of(x)); }

void CudaBackend::layer_norm(Tensor x, Tensor gamma, Tensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) {
  cuda::layer_norm(device_.stream(), const_matrix(x), vector(gamma), vector(beta), static_cast<float>(eps), matrix(y),
                   vector(mean), vector(rstd), shape_of(x));
}

void CudaBackend::layer_norm_grad(Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, Tensor dx, Tensor dgamma,
                                  Tensor dbeta) {
  cuda::layer_norm_grad(device_.stream(), const_matrix(x), vector(gamma), vector(mean), vector(rstd), const_matrix(dy),
                        matrix(dx), vector(dgamma), vector(dbeta), shape_of(x));
}

void cuda::finish(Device& device, const Epilogue& epilogue, Tensor y) {
  if (epilogue.bias.empty() && epilogue.activation == Activation::none && epilogue.residual.empty()) return;
  finish(device.stream(), matrix(y), vector(epilogue.bias), pointwise(epilogue.activation), {},
         const_matrix(epilogue.residual), shape_of(y));
}

}  // namespace bertx
