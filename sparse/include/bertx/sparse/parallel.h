// One way to split work over threads: OpenMP, static ranges. Not for files compiled per instruction set
// (they hold kernels over a range and leave the splitting to their callers).
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace bertx::sparse {

/// Calls body(first, last) on disjoint ranges that cover [0, count), one range a thread, none shorter than
/// `grain` unless count is. Runs in the caller's thread where one range is enough or a region is active.
/// The split depends on the number of threads; bodies whose results must not may depend on each item only.
template <class Body>
void parallel_ranges(std::int64_t count, std::int64_t grain, const Body& body) {
  const std::int64_t most = std::max<std::int64_t>(1, count / std::max<std::int64_t>(1, grain));
  const int threads = static_cast<int>(std::min<std::int64_t>(omp_in_parallel() ? 1 : omp_get_max_threads(), most));
  if (threads <= 1) {
    if (count > 0) body(std::int64_t{0}, count);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t parts = omp_get_num_threads(), part = omp_get_thread_num();
    const std::int64_t first = count * part / parts, last = count * (part + 1) / parts;
    try {
      if (first < last) body(first, last);
    } catch (...) {
#pragma omp critical(bertx_parallel_error)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace bertx::sparse
