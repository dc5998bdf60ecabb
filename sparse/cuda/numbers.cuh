// What the kernels of sparse products share: numbers of both types, strips of tokens, the epilogue.
#pragma once

#include "cuda/device.cuh"
#include "cuda/launch.h"
#include "cuda/tiling.h"

namespace bertx::sparse::cuda {

/// bfloat16: the upper half of a float.
struct Bf16 {
  std::uint16_t bits;
};
__device__ __forceinline__ float as_float(float x) { return x; }
__device__ __forceinline__ float as_float(Bf16 x) { return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16); }
__device__ __forceinline__ float lower_half(std::uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float upper_half(std::uint32_t pair) { return __uint_as_float(pair & 0xFFFF0000u); }

/// As bf16_from_float (bertx/sparse/bf16.h).
__device__ __forceinline__ Bf16 rounded(float value) {
  const std::uint32_t bits = __float_as_uint(value), size = bits & 0x7FFFFFFFu;
  if (size > 0x7F800000u) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  if (size < 0x00800000u) return {static_cast<std::uint16_t>(bits >> 16 & 0x8000u)};
  return {static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}

// ---- successive numbers; the address is a multiple of their bytes, or of 16 ---------------------------------------

__device__ __forceinline__ void load_numbers(const float* from, float (&to)[4]) {
  const float4 x = *reinterpret_cast<const float4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
}
__device__ __forceinline__ void load_numbers(const Bf16* from, float (&to)[4]) {
  const uint2 x = *reinterpret_cast<const uint2*>(from);
  to[0] = lower_half(x.x), to[1] = upper_half(x.x), to[2] = lower_half(x.y), to[3] = upper_half(x.y);
}
__device__ __forceinline__ void load_numbers(const Bf16* from, float (&to)[8]) {
  const uint4 x = *reinterpret_cast<const uint4*>(from);
  to[0] = lower_half(x.x), to[1] = upper_half(x.x), to[2] = lower_half(x.y), to[3] = upper_half(x.y);
  to[4] = lower_half(x.z), to[5] = upper_half(x.z), to[6] = lower_half(x.w), to[7] = upper_half(x.w);
}
__device__ __forceinline__ void load_numbers(const float* from, float (&to)[8]) {
  const float4 x = *reinterpret_cast<const float4*>(from), y = *reinterpret_cast<const float4*>(from + 4);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
  to[4] = y.x, to[5] = y.y, to[6] = y.z, to[7] = y.w;
}
template <class X>
__device__ __forceinline__ void load_numbers(const X* from, float (&to)[1]) {
  to[0] = as_float(*from);
}

/// Row `row` of a matrix: one multiplication, of 32 bits.
template <class X>
__device__ __forceinline__ const X* row_of(const X* x, std::int32_t row, int stride_bytes) {
  const std::int64_t offset = static_cast<std::int64_t>(row) * stride_bytes;
  return reinterpret_cast<const X*>(reinterpret_cast<const unsigned char*>(x) + offset);
}

// ---- strips: kTokens tokens of a row that belong to one of kLanes lanes -------------------------------------------

/// As vectors, which lie side by side; or, whatever the alignment, every kLanes-th token, so that lanes lie side by
/// side.
template <int kLanes, int kTokens, bool kVectors>
struct Strip {
  std::int64_t first;  ///< this lane's first token
  std::int64_t tokens;

  __device__ __forceinline__ Strip(std::int64_t tile, int lane, std::int64_t tokens_)
      : first(tile * (kLanes * kTokens) + (kVectors ? lane * kTokens : lane)), tokens(tokens_) {}
  __device__ __forceinline__ std::int64_t token(int i) const { return first + (kVectors ? i : i * kLanes); }

  /// What is read first; beyond the last token that is another's number, which Finish leaves alone.
  __device__ __forceinline__ std::int64_t start() const { return first < tokens ? first : 0; }
  /// `from` is start() behind the beginning of a row.
  template <class X>
  __device__ __forceinline__ void load(const X* from, float (&to)[kTokens]) const {
    if constexpr (kVectors) {
      load_numbers(from, to);
    } else {
#pragma unroll
      for (int i = 0; i < kTokens; ++i) to[i] = as_float(from[token(i) < tokens ? i * kLanes : 0]);
    }
  }
};

// ---- sums over a warp
// --------------------------------------------------------------------------------------------------

/// The sum over all lanes of each of kCount sums (1, 2, 4, 8): that of number fold_index<kCount>(lane) in each lane.
/// Lanes share the numbers out while they add, so that eight cost nine exchanges and not forty.
template <int kCount>
__device__ __forceinline__ float fold(float (&sums)[kCount], int lane) {
  int step = kWarp / 2;
#pragma unroll
  for (int width = kCount / 2; width > 0; width /= 2, step /= 2) {
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float given = upper ? sums[i] : sums[i + width], kept = upper ? sums[i + width] : sums[i];
      sums[i] = kept + __shfl_xor_sync(0xFFFFFFFFu, given, step);
    }
  }
#pragma unroll
  for (; step > 0; step /= 2) sums[0] += __shfl_xor_sync(0xFFFFFFFFu, sums[0], step);
  return sums[0];
}
template <int kCount>
__device__ __forceinline__ int fold_index(int lane) {
  return lane / (kWarp / kCount);
}

// ---- epilogue
// --------------------------------------------------------------------------------------------------------

__device__ __forceinline__ float activated(Activation activation, float x) {
  switch (activation) {
    case Activation::gelu_erf: return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
    case Activation::gelu_tanh: return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case Activation::relu: return x > 0.0f ? x : 0.0f;
    case Activation::tanh: return tanhf(x);
    default: return x;
  }
}

/// Where a product's sums go.
struct Finish {
  Output y;
  Epilogue epilogue;
  bool vectors;  ///< y and the residual may be accessed by four
  bool bf16;     ///< y is

  __device__ __forceinline__ float value(std::int64_t row, float sum) const {
    if (epilogue.bias != nullptr) sum += epilogue.bias[row];
    return activated(epilogue.activation, sum);
  }
  __device__ __forceinline__ const float* residual(std::int64_t row) const {
    return static_cast<const float*>(epilogue.residual.data) + row * epilogue.residual.stride;
  }
  __device__ __forceinline__ void store(std::int64_t row, std::int64_t token, float sum) const {
    float out = value(row, sum);
    if (epilogue.residual.data != nullptr) out += residual(row)[token];
    const std::int64_t at = row * y.stride + token;
    if (bf16) {
      static_cast<std::uint16_t*>(y.data)[at] = bf16_bits(out);
      return;
    }
    float& place = static_cast<float*>(y.data)[at];
    place = epilogue.add ? place + out : out;
  }
  /// Of tokens `token`, an even number, and the next, as far as there are so many.
  __device__ __forceinline__ void store_two(std::int64_t row, std::int64_t token, std::int64_t tokens, float first,
                                            float second) const {
    if (!vectors || token + 1 >= tokens) {
      if (token < tokens) store(row, token, first);
      if (token + 1 < tokens) store(row, token + 1, second);
      return;
    }
    float2 out = make_float2(value(row, first), value(row, second));
    const auto add = [&out](float2 more) { out = make_float2(out.x + more.x, out.y + more.y); };
    if (epilogue.residual.data != nullptr) add(*reinterpret_cast<const float2*>(residual(row) + token));
    const std::int64_t at = row * y.stride + token;
    if (bf16) {
      *reinterpret_cast<std::uint32_t*>(static_cast<std::uint16_t*>(y.data) + at) = two_bf16(out.x, out.y);
      return;
    }
    auto* const place = reinterpret_cast<float2*>(static_cast<float*>(y.data) + at);
    if (epilogue.add) add(*place);
    *place = out;
  }
  __device__ __forceinline__ void store_four(std::int64_t row, std::int64_t token, const float* sums) const {
    float4 out = make_float4(value(row, sums[0]), value(row, sums[1]), value(row, sums[2]), value(row, sums[3]));
    const auto add = [&out](float4 more) {
      out = make_float4(out.x + more.x, out.y + more.y, out.z + more.z, out.w + more.w);
    };
    if (epilogue.residual.data != nullptr) add(*reinterpret_cast<const float4*>(residual(row) + token));
    const std::int64_t at = row * y.stride + token;
    if (bf16) {
      *reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(y.data) + at) =
          make_uint2(two_bf16(out.x, out.y), two_bf16(out.z, out.w));
      return;
    }
    auto* const place = reinterpret_cast<float4*>(static_cast<float*>(y.data) + at);
    if (epilogue.add) add(*place);
    *place = out;
  }

  template <int kLanes, int kTokens, bool kVectors>
  __device__ __forceinline__ void operator()(std::int64_t row, const Strip<kLanes, kTokens, kVectors>& strip,
                                             const float (&sums)[kTokens]) const {
    if constexpr (kVectors && kTokens % 4 == 0) {
      if (vectors) {
#pragma unroll
        for (int i = 0; i < kTokens; i += 4) {
          if (strip.first + i + 4 <= strip.tokens) {
            store_four(row, strip.first + i, sums + i);
          } else {
            for (int j = i; j < i + 4; ++j) {
              if (strip.first + j < strip.tokens) store(row, strip.first + j, sums[j]);
            }
          }
        }
        return;
      }
    }
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      if (strip.token(i) < strip.tokens) store(row, strip.token(i), sums[i]);
    }
  }
};

// ---- on the host
// -----------------------------------------------------------------------------------------------------

/// Rows may be read or written 16 bytes at a time.
inline bool in_vectors(const void* data, std::int64_t stride, int element_bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride * element_bytes % 16 == 0;
}
inline Finish finish_of(Output y, const Epilogue& epilogue) {
  const bool beside =
      epilogue.residual.data == nullptr || in_vectors(epilogue.residual.data, epilogue.residual.stride, 4);
  const bool bf16 = y.number == Number::bf16;
  return {y, epilogue, beside && in_vectors(y.data, y.stride, bf16 ? 2 : 4), bf16};
}

}  // namespace bertx::sparse::cuda
