// What tensor cores do with the registers of a warp: plain loops over the fragments as PTX lays them out
// (PTX ISA, "Matrix Fragments for mma.m16n8k16" and "m16n8k8"; "ldmatrix"). Written from the layout, not from the
// kernels that use it, so that a kernel that places an element elsewhere computes something else here, too.
#pragma once

#include <cstdint>

#include "grid.h"

namespace cuda_emulation {

/// d [16, 8] += a [16, 16] b [16, 8], a and b bf16, two to a register, the lower column (of b: row) in the lower half.
/// With g = lane / 4 and q = lane % 4:
///   a[0]: row g,     columns 2q, 2q + 1      a[2]: row g,     columns 2q + 8, 2q + 9
///   a[1]: row g + 8, columns 2q, 2q + 1      a[3]: row g + 8, columns 2q + 8, 2q + 9
///   b[0]: rows 2q, 2q + 1 of column g        b[1]: rows 2q + 8, 2q + 9 of column g
///   d[0], d[1]: row g, columns 2q, 2q + 1    d[2], d[3]: row g + 8, columns 2q, 2q + 1
void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where);

/// d [16, 8] += a [16, 8] b [8, 8], a and b f32 of which the upper 19 bits (TF32) are read.
///   a[0]: row g, column q         a[1]: row g + 8, column q
///   a[2]: row g, column q + 4     a[3]: row g + 8, column q + 4
///   b[0]: row q of column g       b[1]: row q + 4 of column g;  d as above
void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where);

/// d [16, 8] += a [16, 32] b [32, 8], a and b bf16 (PTX ISA, "Matrix Fragments for sparse mma.m16n8k32"). Of each four
/// columns of a two are given, as a [16, 16] of mma_m16n8k16_bf16. Which two, four bits say, the lower two of them the
/// first; they come from the lanes of which q is 2 * selector (columns 0 to 15) and 2 * selector + 1 (16 to 31): bits
/// 0 to 15 of row g, 16 to 31 of row g + 8, four for each four columns. They must be ascending.
///   b[i]: rows 8i + 2q, 8i + 2q + 1 of column g;  d as above
void mma_sp_m16n8k32_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[4], std::uint32_t places,
                          int selector, Where where);

/// Four matrices of 8 x 8 16-bit elements from shared memory: lanes 8m to 8m + 7 name the rows (16 bytes, aligned) of
/// matrix m; register m gets row g, columns 2q and 2q + 1, or of the transposed matrix.
void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, bool transposed, Where where);

/// Begins d [64, 128] += a [64, 16] b [16, 128], a and b bf16 in shared memory (PTX ISA, "Asynchronous warpgroup level
/// matrix multiply-accumulate": "Matrix fragments for wgmma.mma_async.m64nNk16", "Strides", "Matrix descriptor"). Warp
/// w of the four has rows 16w to 16w + 15; d[4j + e] is element e of the 16 x 8 results from column 8j on, as d above.
/// A descriptor: address / 16 in bits 0 to 13, leading byte offset / 16 in 16 to 29, stride byte offset / 16 in 32 to
/// 45, 1 in 62 and 63 for the swizzle of 128 bytes, which is all that is played here. Then
///   a, whose rows are contiguous: row r, column c at address + r / 8 * stride + r % 8 * 128 + 2c
///   b, whose rows are contiguous: row r, column c at address + c / 64 * leading + r / 8 * stride + r % 8 * 128 + c %
///   64 * 2
/// with bits 4 to 6 of what results exchanged for their exclusive or with bits 7 to 9.
void wgmma_m64n128k16_bf16(float (&d)[64], std::uint64_t a, std::uint64_t b, Where where);

}  // namespace cuda_emulation
