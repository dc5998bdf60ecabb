// What acts on each element alone, and sums over rows. Rows are walked one by one, vectors run along the tokens.
#include "backend/cpu/dropout_lanes.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"

namespace bertx::cpu::BERTX_ISA_NAMESPACE {
namespace {

constexpr float kTanhScale = 0.7978845608028654f;  // sqrt(2 / pi), of the tanh form of gelu
constexpr float kTanhCubic = 0.044715f;
constexpr float kBellScale = 0.3989422804014327f;  // 1 / sqrt(2 pi)

struct None {
  static BERTX_INLINE Vector value(Vector x) { return x; }
  static BERTX_INLINE Vector derivative(Vector) { return fill(1.0f); }
};
struct GeluErf {
  static BERTX_INLINE Vector value(Vector x) { return x * normal(x).below; }
  static BERTX_INLINE Vector derivative(Vector x) {
    const Normal n = normal(x);
    return n.below + x * (n.bell * kBellScale);
  }
};
struct GeluTanh {
  static BERTX_INLINE Vector inner(Vector x) { return tanh(kTanhScale * (x + kTanhCubic * x * x * x)); }
  static BERTX_INLINE Vector value(Vector x) { return 0.5f * x * (1.0f + inner(x)); }
  static BERTX_INLINE Vector derivative(Vector x) {
    const Vector t = inner(x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * kTanhScale * (1.0f + 3.0f * kTanhCubic * x * x);
  }
};
struct Relu {
  static BERTX_INLINE Vector value(Vector x) { return x < 0.0f ? Vector{} : x; }  // NaN stays NaN
  static BERTX_INLINE Vector derivative(Vector x) { return x > 0.0f ? fill(1.0f) : Vector{}; }
};
struct Tanh {
  static BERTX_INLINE Vector value(Vector x) { return tanh(x); }
  static BERTX_INLINE Vector derivative(Vector x) {
    const Vector t = tanh(x);
    return 1.0f - t * t;
  }
};

template <class Body>
BERTX_INLINE void for_kind(Pointwise kind, const Body& body) {
  switch (kind) {
    case Pointwise::none: return body(None{});
    case Pointwise::gelu_erf: return body(GeluErf{});
    case Pointwise::gelu_tanh: return body(GeluTanh{});
    case Pointwise::relu: return body(Relu{});
    case Pointwise::tanh: return body(Tanh{});
  }
}

}  // namespace

void bias_activation(Matrix x, const float* bias, Pointwise kind, Matrix y, Range rows, int64_t cols) {
  const bool keep_sum = bias != nullptr && x.data != y.data;
  for_kind(kind, [&](auto function) {
    for (int64_t row = rows.first; row < rows.last; ++row) {
      float* const from = x.data + row * x.stride;
      float* const to = y.data + row * y.stride;
      const float shift = bias != nullptr ? bias[row] : 0.0f;
      for_vectors(cols, [&](auto access, int64_t t) {
        const Vector sum = access.load(from + t) + shift;
        if (keep_sum) access.store(from + t, sum);
        access.store(to + t, function.value(sum));
      });
    }
  });
}

void activation_grad(ConstMatrix x, Pointwise kind, ConstMatrix dy, Matrix dx, Range rows, int64_t cols) {
  for_kind(kind, [&](auto function) {
    for (int64_t row = rows.first; row < rows.last; ++row) {
      const float* const at = x.data + row * x.stride;
      const float* const from = dy.data + row * dy.stride;
      float* const to = dx.data + row * dx.stride;
      for_vectors(cols, [&](auto access, int64_t t) {
        access.store(to + t, access.load(from + t) * function.derivative(access.load(at + t)));
      });
    }
  });
}

void row_sums(ConstMatrix dy, float* out, Range rows, int64_t cols) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    LongSum sum;
    for_vectors(cols, [&](auto access, int64_t t) { sum.add(access.load(dy.data + row * dy.stride + t)); });
    out[row] = (float)(out[row] + sum.sum());
  }
}

void bias_dropout_residual(Matrix y, const float* bias, DropoutMask mask, ConstMatrix residual, Range rows,
                           int64_t cols) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float* const to = y.data + row * y.stride;
    const float* const from = residual.data + row * residual.stride;
    const float shift = bias != nullptr ? bias[row] : 0.0f;
    const DropoutRow dropped(mask, row);
    for_vectors(cols, [&](auto access, int64_t t) {
      const Vector sum = access.load(to + t) + shift;
      access.store(to + t, (mask.threshold == 0 ? sum : dropped.apply(sum, t)) + access.load(from + t));
    });
  }
}

void apply_dropout(ConstMatrix x, DropoutMask mask, Matrix y, Range rows, int64_t cols) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const DropoutRow dropped(mask, row);
    for_vectors(cols, [&](auto access, int64_t t) {
      access.store(y.data + row * y.stride + t, dropped.apply(access.load(x.data + row * x.stride + t), t));
    });
  }
}

void add(ConstMatrix x, Matrix y, Range rows, int64_t cols) {
  for (int64_t row = rows.first; row < rows.last; ++row) {
    float* const to = y.data + row * y.stride;
    for_vectors(cols, [&](auto access, int64_t t) {
      access.store(to + t, access.load(to + t) + access.load(x.data + row * x.stride + t));
    });
  }
}

double dot(ConstMatrix a, ConstMatrix b, Range rows, int64_t cols) {
  LongSum sum;
  for (int64_t row = rows.first; row < rows.last; ++row) {
    for_vectors(cols, [&](auto access, int64_t t) {
      sum.add(access.load(a.data + row * a.stride + t) * access.load(b.data + row * b.stride + t));
    });
  }
  return sum.sum();
}

}  // namespace bertx::cpu::BERTX_ISA_NAMESPACE
