// The tiled product: a block holds the activations of a tile of columns in shared memory, where all its rows take their
// nonzeros of that tile; their sums wait in registers. While one tile is used the next is copied. Each nonzero costs a
// vector load from shared memory, whose rate is the limit: 32 f32 numbers, or 64 bf16 ones, a cycle.
#include "cuda/numbers.cuh"

namespace bertx::sparse::cuda {
namespace {

template <class X>
struct Problem {
  Tiled w;
  const X* x;
  std::int64_t stride, tokens;
  bool vectors;  ///< x may be copied 16 bytes at a time
  Finish finish;
};

/// Entries as the type of values has them, 16 bytes of them at a time.
template <class X>
struct Entries;
template <>
struct Entries<float> {
  static constexpr int kGroup = entries_aligned(false);
  const uint2* at;
  __device__ __forceinline__ void group(int n, int (&columns)[kGroup], float (&values)[kGroup]) const {
    const uint4 a = *reinterpret_cast<const uint4*>(at + n);
    columns[0] = static_cast<int>(a.x), columns[1] = static_cast<int>(a.z);
    values[0] = __uint_as_float(a.y), values[1] = __uint_as_float(a.w);
  }
  __device__ __forceinline__ void one(int n, int& column, float& value) const {
    const uint2 a = at[n];
    column = static_cast<int>(a.x);
    value = __uint_as_float(a.y);
  }
};
template <>
struct Entries<Bf16> {
  static constexpr int kGroup = entries_aligned(true);
  const std::uint32_t* at;
  __device__ __forceinline__ void group(int n, int (&columns)[kGroup], float (&values)[kGroup]) const {
    const uint4 a = *reinterpret_cast<const uint4*>(at + n);
    const std::uint32_t words[kGroup] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < kGroup; ++i) split(words[i], columns[i], values[i]);
  }
  __device__ __forceinline__ void one(int n, int& column, float& value) const { split(at[n], column, value); }

 private:
  __device__ __forceinline__ static void split(std::uint32_t word, int& column, float& value) {
    column = static_cast<int>(word & 0xFFFFu);
    value = upper_half(word);
  }
};

template <class X, int kTokens>
struct Block {
  static constexpr int kBlockTokens = kWarp * kTokens;
  static constexpr int kEntryBytes = entry_bytes(sizeof(X) == 2);

  const Problem<X>& p;

  __device__ __forceinline__ int cell(int tile) const { return static_cast<int>(blockIdx.x) * p.w.tiles + tile; }
  __device__ __forceinline__ unsigned char* buffer(int tile) const {
    const auto x_bytes = static_cast<int>(tile_bytes(p.w.tile_columns, kBlockTokens, sizeof(X)));
    return dynamic_shared() + tile % 2 * (x_bytes + p.w.most_entries * kEntryBytes);
  }
  __device__ __forceinline__ unsigned char* entries_of(int tile) const {
    return buffer(tile) + tile_bytes(p.w.tile_columns, kBlockTokens, sizeof(X));
  }

  /// Begins to copy a tile's activations and entries.
  __device__ __forceinline__ void fetch(int tile) const {
    const std::int64_t first_column = static_cast<std::int64_t>(tile) * p.w.tile_columns;
    const auto columns = static_cast<int>(min(static_cast<std::int64_t>(p.w.tile_columns), p.w.cols - first_column));
    const X* const from = p.x + first_column * p.stride;
    if (p.vectors) {
      fetch_tokens<16>(from, columns, buffer(tile));
    } else if constexpr (sizeof(X) == 4) {
      fetch_tokens<4>(from, columns, buffer(tile));
    }
    const std::int64_t begin = p.w.cell_start[cell(tile)], end = p.w.cell_start[cell(tile) + 1];
    const unsigned char* const source = static_cast<const unsigned char*>(p.w.entries) + begin * kEntryBytes;
    unsigned char* const to = entries_of(tile);
    const auto bytes = static_cast<int>((end - begin) * kEntryBytes);
#pragma unroll 1
    for (int b = static_cast<int>(threadIdx.x) * 16; b < bytes; b += static_cast<int>(blockDim.x) * 16) {
      copy_async<16>(to + b, source + b);
    }
  }

 private:
  /// Tokens behind the last become 0.
  template <int kBytes>
  __device__ __forceinline__ void fetch_tokens(const X* from, int columns, unsigned char* to) const {
    constexpr int kNumbers = kBytes / static_cast<int>(sizeof(X)), kParts = kBlockTokens / kNumbers;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < columns * kParts; i += static_cast<int>(blockDim.x)) {
      const std::int64_t token = static_cast<std::int64_t>(blockIdx.y) * kBlockTokens + i % kParts * kNumbers,
                         left = p.tokens - token;
      const int taken = left >= kNumbers ? kBytes : left > 0 ? static_cast<int>(left * sizeof(X)) : 0;
      const X* const row = from + i / kParts * p.stride;
      copy_async<kBytes>(to + i * kBytes, row + (left > 0 ? token : 0), taken);
    }
  }
};

template <class X, int kTokens>
__global__ __launch_bounds__(kMostPanelWarps* kWarp, kTokens == 8 ? 1 : 2) void tiled_kernel(Problem<X> p) {
  using B = Block<X, kTokens>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const B block{p};
  float sums[kWarpRows][kTokens] = {};
  for (int fetched = 0; fetched <= p.w.tiles; ++fetched) {
    if (fetched < p.w.tiles) block.fetch(fetched);
    commit_copies();
    if (fetched == 0) continue;
    const int tile = fetched - 1;
    // Lane i knows where the segment of the warp's row i begins and ends.
    int2 segment = make_int2(0, 0);
    if (lane < kWarpRows) {
      const int place = (block.cell(tile) * p.w.panel_warps + warp) * kWarpRows + lane;
      segment = reinterpret_cast<const int2*>(p.w.segments)[place];
    }
    wait_copies<1>();
    __syncthreads();
    const X* const x = reinterpret_cast<const X*>(block.buffer(tile)) + lane * kTokens;
    const Entries<X> entries{reinterpret_cast<decltype(Entries<X>::at)>(block.entries_of(tile))};
#pragma unroll
    for (int i = 0; i < kWarpRows; ++i) {
      int n = __shfl_sync(0xFFFFFFFFu, segment.x, i);
      const int end = __shfl_sync(0xFFFFFFFFu, segment.y, i);
      constexpr int kGroup = Entries<X>::kGroup;
#pragma unroll 1
      for (; n + kGroup <= end; n += kGroup) {
        int columns[kGroup];
        float values[kGroup], strips[kGroup][kTokens];
        entries.group(n, columns, values);
#pragma unroll
        for (int j = 0; j < kGroup; ++j) load_numbers(x + columns[j] * B::kBlockTokens, strips[j]);
#pragma unroll
        for (int j = 0; j < kGroup; ++j) {
#pragma unroll
          for (int t = 0; t < kTokens; ++t) sums[i][t] += values[j] * strips[j][t];
        }
      }
#pragma unroll 1
      for (; n < end; ++n) {
        int column;
        float value, strip[kTokens];
        entries.one(n, column, value);
        load_numbers(x + column * B::kBlockTokens, strip);
#pragma unroll
        for (int t = 0; t < kTokens; ++t) sums[i][t] += value * strip[t];
      }
    }
    __syncthreads();  // before the copies of the tile after the next
  }
  const Strip<kWarp, kTokens, true> strip(blockIdx.y, lane, p.tokens);
  const std::int32_t* const rows =
      p.w.rows_of + (static_cast<std::int64_t>(blockIdx.x) * p.w.panel_warps + warp) * kWarpRows;
// One copy of the epilogue's code: each turn takes its row's sums out of the registers.
#pragma unroll 1
  for (int i = 0; i < kWarpRows; ++i) {
    float row_sums[kTokens];
#pragma unroll
    for (int k = 0; k < kWarpRows; ++k) {
#pragma unroll
      for (int t = 0; t < kTokens; ++t) row_sums[t] = k == 0 || k == i ? sums[k][t] : row_sums[t];
    }
    if (rows[i] >= 0) p.finish(rows[i], strip, row_sums);
  }
}

/// Bytes that a block of this device may have; 0 without one.
std::int64_t most_shared_bytes() {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess) {
    return 0;
  }
  return bytes;
}
std::int64_t shared_bytes(const Tiled& w, int lane_tokens) {
  const bool bf16 = w.number == Number::bf16;
  return tiled_shared_bytes(w.tile_columns, kWarp * lane_tokens, bf16 ? 2 : 4, w.most_entries, bf16);
}

template <class X, int kTokens>
int run(Stream stream, const Tiled& w, Input x, Output y, std::int64_t tokens, const Epilogue& epilogue) {
  const bool vectors = in_vectors(x.data, x.stride, sizeof(X));
  const std::int64_t tiles = divide_up(tokens, kWarp * kTokens), shared = shared_bytes(w, kTokens);
  const bool bf16 = sizeof(X) == 2;
  if (tiles > kMostTokenTiles || shared > most_shared_bytes() || (bf16 && !vectors)) return cudaErrorInvalidValue;
  constexpr auto kKernel = &tiled_kernel<X, kTokens>;
  const cudaError_t allowed =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
  if (allowed != cudaSuccess) return allowed;
  const Problem<X> p{w, static_cast<const X*>(x.data), x.stride, tokens, vectors, finish_of(y, epilogue)};
  const dim3 grid(static_cast<unsigned>(w.panels), static_cast<unsigned>(tiles));
  return launch(kKernel, grid, w.panel_warps * kWarp, static_cast<std::size_t>(shared), stream, p);
}

/// The value in each entry becomes that of its place.
__global__ void update_kernel(std::uint32_t* entries, const float* values, const std::int32_t* places,
                              std::int64_t count, bool bf16) {
  const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e >= count || places[e] < 0) return;
  const float value = values[places[e]];
  if (bf16) {
    entries[e] = (entries[e] & 0xFFFFu) | static_cast<std::uint32_t>(rounded(value).bits) << 16;
  } else {
    entries[2 * e + 1] = __float_as_uint(value);
  }
}

}  // namespace

bool tiled_fits(const Tiled& w) { return shared_bytes(w, 4) <= most_shared_bytes(); }

int spmm_tiled(Stream stream, const Tiled& w, Input x, Output y, std::int64_t tokens, const Epilogue& epilogue) {
  if (w.rows == 0 || tokens == 0) return cudaSuccess;
  if (w.number == Number::f32) return run<float, 4>(stream, w, x, y, tokens, epilogue);
  // Wide strips read whole vectors; narrow ones where half of a wide one would hold no token.
  const bool wide = divide_up(tokens, 256) * 256 - tokens < 128 && shared_bytes(w, 8) <= most_shared_bytes();
  return wide ? run<Bf16, 8>(stream, w, x, y, tokens, epilogue) : run<Bf16, 4>(stream, w, x, y, tokens, epilogue);
}

int update_tiled(Stream stream, const Tiled& w, const float* values, const std::int32_t* places, std::int64_t entries) {
  if (entries == 0) return cudaSuccess;
  return launch(update_kernel, static_cast<unsigned>(divide_up(entries, 256)), 256, 0, stream,
                static_cast<std::uint32_t*>(w.entries), values, places, entries, w.number == Number::bf16);
}

}  // namespace bertx::sparse::cuda
