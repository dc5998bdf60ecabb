// What acts on each element alone: bias, activation, dropout, residual.
#include <cmath>
#include <numbers>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at, reference::dropout_factor;

namespace {

const double kTanhScale = std::sqrt(2.0 / std::numbers::pi);  // of the tanh form of gelu
constexpr double kTanhCubic = 0.044715;

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu_erf: return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(kTanhScale * (x + kTanhCubic * x * x * x)));
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::tanh: return std::tanh(x);
  }
  return x;
}

double derivative(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return 1;
    case Activation::gelu_erf: {
      const double density = std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
      return 0.5 * (1 + std::erf(x / std::numbers::sqrt2)) + x * density;
    }
    case Activation::gelu_tanh: {
      const double t = std::tanh(kTanhScale * (x + kTanhCubic * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kTanhScale * (1 + 3 * kTanhCubic * x * x);
    }
    case Activation::relu: return x > 0 ? 1 : 0;
    case Activation::tanh: return 1 - std::tanh(x) * std::tanh(x);
  }
  return 1;
}

}  // namespace

// X [F, T] += bias [F, 1]; Y [F, T] = activation(X)
void ReferenceBackend::bias_activation(Tensor x, Tensor bias, Activation activation, Tensor y) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t t = 0; t < x.cols; ++t) {
      if (!bias.empty()) at(x, i, t) += at(bias, i, 0);
      at(y, i, t) = activate(activation, at(x, i, t));
    }
  }
}

// dX [F, T] = dY [F, T] * activation'(X [F, T])
void ReferenceBackend::activation_grad(Tensor x, Activation activation, Tensor dy, Tensor dx) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t t = 0; t < x.cols; ++t) at(dx, i, t) = at(dy, i, t) * derivative(activation, at(x, i, t));
  }
}

// dbias [F, 1] += row sums of dY [F, T]
void ReferenceBackend::bias_grad(Tensor dy, Tensor dbias) {
  for (std::int64_t i = 0; i < dy.rows; ++i) {
    for (std::int64_t t = 0; t < dy.cols; ++t) at(dbias, i, 0) += at(dy, i, t);
  }
}

// Y [F, T] = dropout(Y + bias [F, 1]) + residual [F, T]
void ReferenceBackend::bias_dropout_residual(Tensor y, Tensor bias, Dropout dropout, Tensor residual) {
  for (std::int64_t i = 0; i < y.rows; ++i) {
    for (std::int64_t t = 0; t < y.cols; ++t) {
      const double sum = at(y, i, t) + (bias.empty() ? 0.0 : at(bias, i, 0));
      at(y, i, t) = sum * dropout_factor(dropout, i, t) + at(residual, i, t);
    }
  }
}

// Y [F, T] = dropout(X [F, T])
void ReferenceBackend::dropout(Tensor x, Dropout dropout, Tensor y) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t t = 0; t < x.cols; ++t) at(y, i, t) = at(x, i, t) * dropout_factor(dropout, i, t);
  }
}

// Y [F, T] += X [F, T]
void ReferenceBackend::add(Tensor x, Tensor y) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t t = 0; t < x.cols; ++t) at(y, i, t) += at(x, i, t);
  }
}

}  // namespace bertx
