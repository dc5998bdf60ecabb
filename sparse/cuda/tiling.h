// How products are cut for a device: numbers that the host and the kernels agree on.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define BERTX_HOST_DEVICE __host__ __device__
#else
#define BERTX_HOST_DEVICE
#endif

namespace bertx::sparse::cuda {

constexpr int kWarp = 32;

// ---- products by rows ----------------------------------------------------------------------------------------------

constexpr int kRowThreads = 256;
constexpr int kFewTokens = 8;
/// Grids have so many blocks at most in y, where tokens lie.
constexpr std::int64_t kMostTokenTiles = 65535;
/// Rows of x lie so far apart at most: half a billion f32 tokens.
constexpr std::int64_t kMostStrideBytes = 0x7FFFFFFF;

// ---- tiled products
// --------------------------------------------------------------------------------------------------

/// Rows of a warp, whose sums stay in registers through all tiles.
constexpr int kWarpRows = 8;
constexpr int kMostPanelWarps = 16;

/// Entries of a segment begin at a multiple of 16 bytes.
BERTX_HOST_DEVICE constexpr int entry_bytes(bool bf16) { return bf16 ? 4 : 8; }
BERTX_HOST_DEVICE constexpr int entries_aligned(bool bf16) { return 16 / entry_bytes(bf16); }

/// Bytes of shared memory: two buffers, each a tile of activations and the entries that meet it.
BERTX_HOST_DEVICE constexpr std::int64_t tile_bytes(int tile_columns, int block_tokens, int element_bytes) {
  return std::int64_t{tile_columns} * block_tokens * element_bytes;
}
BERTX_HOST_DEVICE constexpr std::int64_t tiled_shared_bytes(int tile_columns, int block_tokens, int element_bytes,
                                                            int most_entries, bool bf16) {
  return 2 * (tile_bytes(tile_columns, block_tokens, element_bytes) + std::int64_t{most_entries} * entry_bytes(bf16));
}

// ---- 2:4 products
// --------------------------------------------------------------------------------------------------

/// Rows and columns of a block's tile of weights.
constexpr int kStructuredRows = 128, kStructuredColumns = 64;

// ---- weight gradients
// --------------------------------------------------------------------------------------------------

/// Tokens of dy that a warp keeps in registers, 16 a lane.
constexpr int kGradientTokens = 512;

BERTX_HOST_DEVICE constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace bertx::sparse::cuda
