// The sparse products on a CUDA device, by raw pointers: what bertx/sparse/spmm.h does on the host. All pointers but
// those of structs themselves are device memory. A function puts its kernels on `stream` and returns at once, with the
// cudaError_t of the launch (0 is success); products without rows or tokens launch nothing.
//
// Activations are [features, tokens], row i at data + i * stride. Columns from `tokens` to the next multiple of four
// (of bf16: eight) below the stride may be read, never written; what they hold enters no result. Any alignment is
// right; pointers at multiples of 16 bytes with strides that are multiples of 16 bytes too are fast, and bf16 needs
// them.
#pragma once

#include <cstdint>

struct CUstream_st;

namespace bertx::sparse::cuda {

using Stream = CUstream_st*;

/// f32, or bf16 with sums in f32: values and activations x are of one type, y has its own.
enum class Number : int { f32, bf16 };

struct Input {
  const void* data = nullptr;
  std::int64_t stride = 0;
};
/// f32, or sums rounded to bf16 when all is done.
struct Output {
  void* data = nullptr;
  std::int64_t stride = 0;
  Number number = Number::f32;
};

/// A CSR matrix, as CsrView (bertx/sparse/csr.h), with the order in which its rows are taken.
struct Csr {
  std::int64_t rows = 0, cols = 0, nnz = 0;
  const std::int32_t* row_start = nullptr;  ///< [rows + 1]
  const std::int32_t* columns = nullptr;    ///< [nnz], at a multiple of 16 bytes
  const void* values = nullptr;             ///< [nnz] of `number`, at a multiple of 16 bytes
  Number number = Number::f32;
  const std::int32_t* order = nullptr;  ///< [rows], longest_first() of tiling.h; null: as they lie
};

/// Pairs with bertx::Activation, value by value.
enum class Activation : int { none, gelu_erf, gelu_tanh, relu, tanh };

/// y = activation(W x + bias) + residual, or y += that where `add`. Null: left out.
struct Epilogue {
  const float* bias = nullptr;  ///< [rows]
  Activation activation = Activation::none;
  Input residual;    ///< f32 [rows, tokens]; it must not overlap y
  bool add = false;  ///< to an f32 y
};

/// How spmm shares out its work. All give the same sums in another order at most.
enum class Form : int {
  few,       ///< up to 8 tokens: the lanes of a warp share a row's nonzeros
  rows_8,    ///< 8 lanes a row, 32 tokens: four rows a warp
  rows_32,   ///< a warp a row, 32 tokens
  rows_128,  ///< a warp a row, 128 tokens
  rows_256   ///< a warp a row, 256 tokens; bf16 only
};

/// x [cols, tokens] -> y [rows, tokens]. A form that cannot (few for more tokens, rows_256 for f32) is an error.
int spmm(Stream stream, const Csr& w, Input x, Output y, std::int64_t tokens, const Epilogue& epilogue, Form form);
/// The form by rule; measuring may find a better one.
Form usual_form(std::int64_t rows, std::int64_t tokens, Number number);

/// A matrix in the layout of tiled_layout.h, its arrays in device memory. Activations pass through shared memory.
struct Tiled {
  std::int64_t rows = 0, cols = 0;
  int panels = 0, tiles = 0, tile_columns = 0, panel_warps = 0;
  int most_entries = 0;                      ///< of a panel's tile
  const std::int32_t* rows_of = nullptr;     ///< [panels, warps, kWarpRows]: the row in each place, -1 for none
  const std::int32_t* cell_start = nullptr;  ///< [panels * tiles + 1]: where the entries of a panel's tile begin
  const std::int32_t* segments = nullptr;    ///< [panels, tiles, warps, kWarpRows, 2]: begin and end, from cell_start
  void* entries = nullptr;                   ///< f32: {column in the tile, value}; bf16: the same in 16 bits each
  Number number = Number::f32;
};

/// Whether the device's shared memory holds two tiles and what meets them.
bool tiled_fits(const Tiled& w);
/// x [cols, tokens] -> y [rows, tokens]. Where tiled_fits() is false: an error, nothing is launched.
int spmm_tiled(Stream stream, const Tiled& w, Input x, Output y, std::int64_t tokens, const Epilogue& epilogue);
/// Takes over new values [nnz] of the CSR, f32; places [entries] as in tiled_layout.h.
int update_tiled(Stream stream, const Tiled& w, const float* values, const std::int32_t* places, std::int64_t entries);

/// A 2:4 matrix in the layout of structured_layout.h, in bf16, its arrays in device memory.
struct Structured {
  std::int64_t rows = 0, cols = 0;
  int panels = 0, tiles = 0;              ///< of 128 rows and of 64 columns (tiling.h), filled up with zeros
  const std::uint16_t* values = nullptr;  ///< [panels * 128, tiles * 32]: two of each four columns
  const std::uint32_t* places = nullptr;  ///< [panels * 4, tiles * 2, 32]: which two
};
/// x [cols, tokens] in bf16 -> y [rows, tokens], by tensor cores.
int spmm_structured(Stream stream, const Structured& w, Input x, Output y, std::int64_t tokens,
                    const Epilogue& epilogue);

/// dvalues [nnz] += the entries of dy [rows, tokens] xᵀ [tokens, cols] on the pattern, f32. A value's sums come one
/// block of tokens after the other, in an order that depends on nothing else. pattern.values is not read.
int sddmm(Stream stream, const Csr& pattern, Input dy, Input x, std::int64_t tokens, float* dvalues);

// ---- values
// ----------------------------------------------------------------------------------------------------------

/// to [count] = from[positions], f32. spmm_transposed is this, into memory of the caller's, and then spmm with the
/// arrays of the transposed index: {cols, rows, nnz, column_start, row_of, to}.
int permute(Stream stream, const float* from, const std::int32_t* positions, std::int64_t count, float* to);
/// dense [rows, stride] of w's number: the values, and 0 elsewhere in the first cols columns
int to_dense(Stream stream, const Csr& w, void* dense, std::int64_t stride);
/// values [nnz] += dense [rows, stride] at the places of the pattern: with a dense product, another way to do sddmm
int add_gathered(Stream stream, const Csr& pattern, Input dense, float* values);

}  // namespace bertx::sparse::cuda
