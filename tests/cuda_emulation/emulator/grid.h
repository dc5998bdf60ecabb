// Runs a grid of thread blocks on one host thread: what kernels need of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

#include "vector_types.h"

namespace cuda_emulation {

/// Threads of a block run as fibers, one at a time, each until it has to wait; who comes next, and which block, is
/// drawn from a seed: a missing barrier gives another result with another seed. The same seed gives the same run.
struct Grid {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;  ///< of dynamic shared memory, filled with NaN before each block
};

/// Throws std::runtime_error with the thread, what it did and the line where it stands: threads that wait for each
/// other, a thread that left while others wait at a barrier or in a warp, different barriers or operations of a warp
/// that meet, a value read from a lane that does not take part, an asynchronous copy that is not aligned, shared memory
/// written past its end.
void run_grid(const Grid& grid, std::uint64_t seed, const std::function<void()>& kernel);

// ---- from within a kernel ----------------------------------------------------------------------------------------

using Where = std::source_location;

void* dynamic_shared();
std::size_t dynamic_shared_bytes();

/// __syncthreads(); returns the number of threads that came with `predicate`.
int barrier(bool predicate, Where where);

/// All lanes of `mask` meet; the last to come calls meet(lanes, taking part), lanes[i] being the argument of lane i
/// (null where it takes no part), and then all go on. The lanes must come with the same mask and function.
using Meeting = void (*)(void* const (&lanes)[32], unsigned taking_part);
void meet_warp(unsigned mask, Meeting meet, void* mine, Where where);

/// This thread's place in its warp.
int lane();
/// Lanes of this warp that have not left the kernel.
unsigned lanes_alive();

/// cp.async: `taken` of the bytes are read, the rest is 0. It is drawn whether they are copied at once or when the
/// thread waits for their group.
void copy_async(void* shared, const void* global, int bytes, int taken, Where where);
void commit_async();
/// Completes all groups but the `left` last ones.
void wait_async(int left);

/// Where `shared` lies in the shared memory of the block, which begins at kSharedBegin.
inline constexpr std::uint32_t kSharedBegin = 1024;
std::uint32_t shared_address(const void* shared);

/// wgmma: `work` is done at once or when its group is waited for, as is drawn. Refused where begin_products() has not
/// been called since the thread last waited for all, and where something that a thread of the block has copied was not
/// published before the last barrier.
void begin_product(std::function<void()> work, Where where);
void begin_products();
void commit_products();
void wait_products(int left);
void publish_shared();

/// Ends the launch with an error that names this thread.
[[noreturn]] void refuse(const char* what, Where where);

}  // namespace cuda_emulation
