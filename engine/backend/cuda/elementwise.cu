// What acts on each element alone: fills, rounding, bias, activation, dropout, residual, masks.
#include "backend/cuda/device.cuh"

namespace bertx::cuda {
namespace {

constexpr std::int64_t kMostBlocks = 1 << 16;

template <class Body>
__global__ void elements(Body body, Shape shape, bool fours) {
  for_elements(body, shape, fours);
}

template <class Body>
void over(Stream stream, const Body& body, Shape shape, bool fours) {
  if (shape.rows <= 0 || shape.cols <= 0) return;
  const Layout layout = layout_of(shape, kMostBlocks);
  launch(elements<Body>, layout.grid, layout.block, 0, stream, body, shape, fours);
}

template <class T>
struct Fill {
  T* x;
  std::int64_t stride;
  T value;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    for (int i = 0; i < kLanes; ++i) x[row * stride + column + i] = value;
  }
};

template <int kLanes>
__device__ void store(std::uint16_t* to, const Lanes<kLanes>& x) {
  if constexpr (kLanes == 4) {
    *reinterpret_cast<uint2*>(to) = make_uint2(two_bf16(x.v[0], x.v[1]), two_bf16(x.v[2], x.v[3]));
  } else {
    for (int i = 0; i < kLanes; ++i) to[i] = bf16_bits(x.v[i]);
  }
}

struct ToBf16 {
  ConstMatrix from;
  Bf16Matrix to;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    store(to.data + row * to.stride + column, load<kLanes>(from.data + row * from.stride + column));
  }
};

struct FromBf16 {
  Bf16Matrix from;
  Matrix to;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    const std::uint16_t* const bits = from.data + row * from.stride + column;
    Lanes<kLanes> x;
    for (int i = 0; i < kLanes; ++i) x.v[i] = __uint_as_float(static_cast<std::uint32_t>(bits[i]) << 16);
    store(to.data + row * to.stride + column, x);
  }
};

struct ToTf32 {
  ConstMatrix from;
  Matrix to;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    Lanes<kLanes> x = load<kLanes>(from.data + row * from.stride + column);
    for (int i = 0; i < kLanes; ++i) x.v[i] = __uint_as_float(sparse::cuda::to_tf32(x.v[i]));
    store(to.data + row * to.stride + column, x);
  }
};

struct BiasActivation {
  Matrix x;
  const float* bias;
  Pointwise activation;
  Matrix y;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    float* const from = x.data + row * x.stride + column;
    Lanes<kLanes> sum = load<kLanes>(from);
    if (bias != nullptr) {
      for (int i = 0; i < kLanes; ++i) sum.v[i] += bias[row];
      store(from, sum);
    }
    for (int i = 0; i < kLanes; ++i) sum.v[i] = activate(activation, sum.v[i]);
    store(y.data + row * y.stride + column, sum);
  }
};

struct ActivationGrad {
  ConstMatrix x;
  Pointwise activation;
  ConstMatrix dy;
  Matrix dx;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    const Lanes<kLanes> value = load<kLanes>(x.data + row * x.stride + column);
    Lanes<kLanes> gradient = load<kLanes>(dy.data + row * dy.stride + column);
    for (int i = 0; i < kLanes; ++i) gradient.v[i] *= derivative(activation, value.v[i]);
    store(dx.data + row * dx.stride + column, gradient);
  }
};

template <class Result>
struct Finish {
  ConstMatrix x;
  const float* bias;
  Pointwise activation;
  DropoutMask mask;
  ConstMatrix residual;
  Result y;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    Lanes<kLanes> value = load<kLanes>(x.data + row * x.stride + column);
    const float shift = bias != nullptr ? bias[row] : 0.0f;
    for (int i = 0; i < kLanes; ++i) {
      value.v[i] = activate(activation, value.v[i] + shift) * dropout_factor(mask, row, column + i);
    }
    if (residual.data != nullptr) {
      const Lanes<kLanes> beside = load<kLanes>(residual.data + row * residual.stride + column);
      for (int i = 0; i < kLanes; ++i) value.v[i] += beside.v[i];
    }
    store(y.data + row * y.stride + column, value);
  }
};

struct DropElements {
  ConstMatrix x;
  DropoutMask mask;
  Matrix y;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    Lanes<kLanes> value = load<kLanes>(x.data + row * x.stride + column);
    for (int i = 0; i < kLanes; ++i) value.v[i] *= dropout_factor(mask, row, column + i);
    store(y.data + row * y.stride + column, value);
  }
};

struct Add {
  ConstMatrix x;
  Matrix y;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    const Lanes<kLanes> more = load<kLanes>(x.data + row * x.stride + column);
    float* const place = y.data + row * y.stride + column;
    Lanes<kLanes> value = load<kLanes>(place);
    for (int i = 0; i < kLanes; ++i) value.v[i] += more.v[i];
    store(place, value);
  }
};

struct MaskApply {
  ConstMatrix w;
  const std::uint8_t* mask;
  std::int64_t mask_stride;
  Matrix out;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    Lanes<kLanes> value = load<kLanes>(w.data + row * w.stride + column);
    for (int i = 0; i < kLanes; ++i) {
      if (mask[row * mask_stride + column + i] == 0) value.v[i] = 0.0f;
    }
    store(out.data + row * out.stride + column, value);
  }
};

struct MaskGrad {
  ConstMatrix g, w;
  const std::uint8_t* mask;
  std::int64_t mask_stride;
  Matrix dw, dscores;
  template <int kLanes>
  __device__ void at(std::int64_t row, std::int64_t column) const {
    const Lanes<kLanes> gradient = load<kLanes>(g.data + row * g.stride + column);
    if (dw.data != nullptr) {
      float* const place = dw.data + row * dw.stride + column;
      Lanes<kLanes> sum = load<kLanes>(place);
      for (int i = 0; i < kLanes; ++i) {
        if (mask[row * mask_stride + column + i] != 0) sum.v[i] += gradient.v[i];
      }
      store(place, sum);
    }
    if (dscores.data != nullptr) {
      const Lanes<kLanes> weight = load<kLanes>(w.data + row * w.stride + column);
      float* const place = dscores.data + row * dscores.stride + column;
      Lanes<kLanes> sum = load<kLanes>(place);
      for (int i = 0; i < kLanes; ++i) sum.v[i] += weight.v[i] * gradient.v[i];
      store(place, sum);
    }
  }
};

template <class T>
void fill_as(Stream stream, void* x, std::int64_t stride, Shape shape, std::uint64_t pattern) {
  over(stream, Fill<T>{static_cast<T*>(x), stride, static_cast<T>(pattern)}, shape, true);
}

bool fours_or_none(Matrix x) { return x.data == nullptr || in_fours(x); }
bool fours_or_none(ConstMatrix x) { return x.data == nullptr || in_fours(x); }

}  // namespace

void fill(Stream stream, void* x, std::int64_t stride, int element_bytes, Shape shape, std::uint64_t pattern) {
  switch (element_bytes) {
    case 1: return fill_as<std::uint8_t>(stream, x, stride, shape, pattern);
    case 2: return fill_as<std::uint16_t>(stream, x, stride, shape, pattern);
    case 4: return fill_as<std::uint32_t>(stream, x, stride, shape, pattern);
    default: return fill_as<std::uint64_t>(stream, x, stride, shape, pattern);
  }
}

void to_bf16(Stream stream, ConstMatrix from, Shape shape, Bf16Matrix to) {
  over(stream, ToBf16{from, to}, shape, in_fours(from) && in_fours(to));
}

void from_bf16(Stream stream, Bf16Matrix from, Shape shape, Matrix to) {
  over(stream, FromBf16{from, to}, shape, in_fours(to));
}

void to_tf32(Stream stream, ConstMatrix from, Shape shape, Matrix to) {
  over(stream, ToTf32{from, to}, shape, in_fours(from) && in_fours(to));
}

void bias_activation(Stream stream, Matrix x, const float* bias, Pointwise activation, Matrix y, Shape shape) {
  over(stream, BiasActivation{x, bias, activation, y}, shape, in_fours(x) && in_fours(y));
}

void activation_grad(Stream stream, ConstMatrix x, Pointwise activation, ConstMatrix dy, Matrix dx, Shape shape) {
  over(stream, ActivationGrad{x, activation, dy, dx}, shape, in_fours(x) && in_fours(dy) && in_fours(dx));
}

void finish(Stream stream, Matrix y, const float* bias, Pointwise activation, DropoutMask dropout, ConstMatrix residual,
            Shape shape) {
  over(stream, Finish<Matrix>{{y.data, y.stride}, bias, activation, dropout, residual, y}, shape,
       in_fours(y) && fours_or_none(residual));
}

void finish_to_bf16(Stream stream, ConstMatrix x, const float* bias, Pointwise activation, ConstMatrix residual,
                    Bf16Matrix y, Shape shape) {
  over(stream, Finish<Bf16Matrix>{x, bias, activation, {}, residual, y}, shape,
       in_fours(x) && in_fours(y) && fours_or_none(residual));
}

void dropout(Stream stream, ConstMatrix x, DropoutMask dropout, Matrix y, Shape shape) {
  over(stream, DropElements{x, dropout, y}, shape, in_fours(x) && in_fours(y));
}

void add(Stream stream, ConstMatrix x, Matrix y, Shape shape) {
  over(stream, Add{x, y}, shape, in_fours(x) && in_fours(y));
}

void mask_apply(Stream stream, ConstMatrix w, const std::uint8_t* mask, std::int64_t mask_stride, Matrix out,
                Shape shape) {
  over(stream, MaskApply{w, mask, mask_stride, out}, shape, in_fours(w) && in_fours(out));
}

void mask_grad(Stream stream, ConstMatrix g, ConstMatrix w, const std::uint8_t* mask, std::int64_t mask_stride,
               Matrix dw, Matrix dscores, Shape shape) {
  over(stream, MaskGrad{g, w, mask, mask_stride, dw, dscores}, shape,
       in_fours(g) && in_fours(w) && fours_or_none(dw) && fours_or_none(dscores));
}

}  // namespace bertx::cuda
