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

/// The block's dynamic shared memory, whose size the launch says; at a multiple of 128 bytes.
__device__ __forceinline__ unsigned char* dynamic_shared() {
#ifdef BERTX_CUDA_EMULATION
  return static_cast<unsigned char*>(cuda_emulation::dynamic_shared());
#else
  extern __shared__ __align__(128) unsigned char bertx_dynamic_shared[];
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

}  // namespace bertx::sparse::cuda
