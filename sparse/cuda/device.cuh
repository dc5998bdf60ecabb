// What kernels need beyond the CUDA language, in one place: launches, asynchronous copies, tensor cores. Where kernels
// are compiled for the host (tests/cuda_emulation) each has a second body, so that kernels themselves need none.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace bertx::sparse::cuda {

template <class T>
struct Exactly {
  using type = T;
};

/// kernel<<<grid, block, shared_bytes, stream>>>(arguments...), and the error of this very launch: that of an earlier
/// call, which cudaGetLastError() would give, is not its own.
template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                   typename Exactly<P>::type... arguments) {
#ifdef BERTX_CUDA_EMULATION
  return cuda_emulation::launch(kernel, grid, block, shared_bytes, stream, arguments...);
#else
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
#endif
}

/// The block's dynamic shared memory, whose size the launch says; at a multiple of 1024 bytes.
__device__ __forceinline__ unsigned char* dynamic_shared() {
#ifdef BERTX_CUDA_EMULATION
  return static_cast<unsigned char*>(cuda_emulation::dynamic_shared());
#else
  extern __shared__ __align__(1024) unsigned char bertx_dynamic_shared[];
  return bertx_dynamic_shared;
#endif
}

// ---- bf16 ----------------------------------------------------------------------------------------------------------

/// x in bf16, rounded to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ std::uint16_t bf16_bits(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x0040u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
/// Two of them as they lie side by side, `low` first.
__device__ __forceinline__ std::uint32_t two_bf16(float low, float high) {
#ifdef BERTX_CUDA_EMULATION
  return static_cast<std::uint32_t>(bf16_bits(low)) | static_cast<std::uint32_t>(bf16_bits(high)) << 16;
#else
  std::uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
#endif
}

// ---- asynchronous copies (sm_80) -----------------------------------------------------------------------------------

/// Begins to copy kBytes (4, 8 or 16, both addresses multiples of it) to shared memory; of them `taken` are read, the
/// rest is 0.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int taken = kBytes) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::copy_async(shared, global, kBytes, taken, cuda_emulation::Where::current());
#else
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (kBytes == 16) {  // past the first-level cache
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(taken) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(kBytes), "r"(taken)
                 : "memory");
  }
#endif
}
/// Makes a group of the copies that this thread has begun since the last.
__device__ __forceinline__ void commit_copies() {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::commit_async();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits for this thread's groups but the kLeft last; other threads see what was copied after a barrier.
template <int kLeft>
__device__ __forceinline__ void wait_copies() {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::wait_async(kLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

// ---- tensor cores (sm_80); tests/cuda_emulation/emulator/tensor_cores.h draws the fragments ------------------------

/// d [16, 8] += a [16, 16] b [16, 8], a and b bf16
__device__ __forceinline__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::mma_m16n8k16_bf16(d, a, b, cuda_emulation::Where::current());
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
/// d [16, 8] += a [16, 32] b [32, 8], of which `a` holds two numbers of each four columns, as a [16, 16], and `places`
/// says which two (structured_layout.h); of the lanes 4g to 4g + 3 those from 2 kSelector on are asked.
template <int kSelector>
__device__ __forceinline__ void mma_bf16_structured(float (&d)[4], const std::uint32_t (&a)[4],
                                                    const std::uint32_t (&b)[4], std::uint32_t places) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::mma_sp_m16n8k32_bf16(d, a, b, places, kSelector, cuda_emulation::Where::current());
#else
// What the metadata promises is in order; before PTX 8.5 there was no way to say so.
#if __CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 5)
#define BERTX_MMA_SP "mma.sp::ordered_metadata"
#else
#define BERTX_MMA_SP "mma.sp"
#endif
  asm volatile(BERTX_MMA_SP
               ".sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
               "{%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(places),
                 "n"(kSelector));
#undef BERTX_MMA_SP
#endif
}
/// d [16, 8] += a [16, 8] b [8, 8], a and b of to_tf32
__device__ __forceinline__ void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::mma_m16n8k8_tf32(d, a, b, cuda_emulation::Where::current());
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
/// Rounds to nearest, ties away from 0, to the 10 bits behind the point that TF32 has.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
#ifdef BERTX_CUDA_EMULATION
  const std::uint32_t bits = __float_as_uint(x);
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & 0xFFFFE000u;
#else
  std::uint32_t out;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out) : "f"(x));
  return out;
#endif
}
/// Four 8 x 8 matrices of 16-bit elements; lanes 8m to 8m + 7 name the rows of matrix m, in shared memory.
template <bool kTransposed = false>
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], const void* row) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::ldmatrix_x4(r, row, kTransposed, cuda_emulation::Where::current());
#else
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
  }
#endif
}

// ---- tensor cores of warpgroups (sm_90a): four successive warps, the first of them a multiple of four -------------

// Elsewhere kernels that need them are compiled to nothing, and never launched.
#if defined(BERTX_CUDA_EMULATION) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BERTX_WARPGROUPS
#endif

/// Sums of a thread: those of 16 successive results of mma_bf16, which has the rows of its warp.
constexpr int kWarpgroupSums = 64;

#ifdef BERTX_WARPGROUPS
/// What tensor cores are to find at `shared`, in rows of 128 bytes laid out as in Tile<128> from a multiple of 1024
/// bytes on: 8 rows every `rows` bytes, and 128 bytes of columns every `columns` bytes.
__device__ __forceinline__ std::uint64_t warpgroup_matrix(const void* shared, int columns, int rows) {
#ifdef BERTX_CUDA_EMULATION
  const std::uint32_t at = cuda_emulation::shared_address(shared);
#else
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
#endif
  constexpr std::uint64_t kTurns = std::uint64_t{1} << 62;  // parts change places within 128 bytes
  return (at & 0x3FFFFu) >> 4 | static_cast<std::uint64_t>(columns >> 4) << 16 |
         static_cast<std::uint64_t>(rows >> 4) << 32 | kTurns;
}
/// a [64, 16] whose rows lie as rows
__device__ __forceinline__ std::uint64_t warpgroup_rows(const void* shared) {
  return warpgroup_matrix(shared, 16, 8 * 128);  // a row's 16 columns are in one place
}
/// b [16, 128] whose rows lie as rows, the second 64 columns `columns` bytes behind the first
__device__ __forceinline__ std::uint64_t warpgroup_columns(const void* shared, int columns) {
  return warpgroup_matrix(shared, columns, 8 * 128);
}

/// What this thread has written to shared memory, by copies that it has waited for too, may be read by tensor cores
/// that other threads start behind a barrier.
__device__ __forceinline__ void publish_shared() {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::publish_shared();
#else
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
/// Before products whose sums other instructions have written.
__device__ __forceinline__ void begin_warpgroup_products() {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::begin_products();
#else
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
/// Begins d [64, 128] += a [64, 16] b [16, 128], a and b bf16 (warpgroup_rows, warpgroup_columns)
__device__ __forceinline__ void warpgroup_mma_bf16(float (&d)[kWarpgroupSums], std::uint64_t a, std::uint64_t b) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::wgmma_m64n128k16_bf16(d, a, b, cuda_emulation::Where::current());
#else
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, "
      "%43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, "
      "%63}, "
      "%64, %65, 1, 1, 1, 0, 1;"  // add; neither is negated; the columns of b lie side by side
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),
        "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]),
        "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]),
        "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]),
        "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b));
#endif
}
/// Makes a group of the products that were begun since the last.
__device__ __forceinline__ void commit_warpgroup_products() {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::commit_products();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
/// Waits for all groups but the kLeft last ones, whose sums are not to be touched.
template <int kLeft>
__device__ __forceinline__ void wait_warpgroup_products(float (&d)[kWarpgroupSums]) {
#ifdef BERTX_CUDA_EMULATION
  cuda_emulation::wait_products(kLeft);
  static_cast<void>(d);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
  if constexpr (kLeft == 0) {
#pragma unroll
    for (int i = 0; i < kWarpgroupSums; ++i) asm volatile("" : "+f"(d[i])::"memory");
  }
#endif
}
#endif  // BERTX_WARPGROUPS

}  // namespace bertx::sparse::cuda
