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

/// Four matrices of 8 x 8 16-bit elements from shared memory: lanes 8m to 8m + 7 name the rows (16 bytes, aligned) of
/// matrix m; register m gets row g, columns 2q and 2q + 1, or of the transposed matrix.
void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, bool transposed, Where where);

}  // namespace cuda_emulation
