// How a product over [rows, tokens] is cut: tokens into blocks, and the work into parts for threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bertx/sparse/parallel.h"

namespace bertx::sparse {

/// Tokens in blocks of equal length (the last may be shorter), as few as `most` tokens a block allow.
struct TokenBlocks {
  std::int64_t tokens, count, length;

  TokenBlocks(std::int64_t tokens_, std::int64_t most, std::int64_t lanes) : tokens(tokens_) {
    const std::int64_t least = (tokens + most - 1) / most;
    const std::int64_t even = (tokens + least - 1) / least;
    length = std::min(most, (even + lanes - 1) / lanes * lanes);
    count = (tokens + length - 1) / length;
  }
  std::int64_t first(std::int64_t block) const { return block * length; }
  std::int64_t size(std::int64_t block) const { return std::min(length, tokens - block * length); }
};

/// The end of part `part` of `parts` equal parts of [0, count), by the cost up to each item: before[i] + i * each,
/// before [count + 1]. Part p is [cost_split(p), cost_split(p + 1)).
inline std::int64_t cost_split(const std::int32_t* before, std::int64_t count, std::int64_t each, std::int64_t part,
                               std::int64_t parts) {
  const std::int64_t total = before[count] + count * each;
  std::int64_t low = 0, high = count;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if ((before[middle] + middle * each) * parts < total * part) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return part >= parts ? count : low;
}

/// Threads that work of so many multiply-adds is worth; a small product stays in the caller's thread.
inline std::int64_t worthwhile_threads(std::int64_t multiply_adds) {
  constexpr std::int64_t kWorthAThread = 1 << 18;  // about ten microseconds
  const std::int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  return std::min(threads, std::max<std::int64_t>(1, multiply_adds / kWorthAThread));
}

/// Calls work(part, parts) in parallel for as many parts of the rows (at most `most_parts`) as threads are worthwhile.
template <class Work>
void split_rows(std::int64_t most_parts, std::int64_t multiply_adds, const Work& work) {
  const std::int64_t parts = std::min(worthwhile_threads(multiply_adds), most_parts);
  parallel_ranges(parts, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t part = first; part < last; ++part) work(part, parts);
  });
}

/// Calls work(first_block, last_block, part, parts) in parallel so that every part of the rows meets every block
/// once. Threads share out the rows: each then streams its own part of the weights, which stays in its cache from one
/// block to the next (two threads, 768x768 to 3072x768 at 10 %, 128 tokens: 132-135 GFLOP/s, against 97-103 when they
/// share out the blocks). Only where the rows have fewer parts than there are threads do they share out the blocks.
template <class Work>
void split_work(std::int64_t blocks, std::int64_t most_parts, std::int64_t multiply_adds, const Work& work) {
  const std::int64_t threads = worthwhile_threads(multiply_adds);
  if (most_parts < threads && most_parts < blocks) {
    parallel_ranges(blocks, (blocks + threads - 1) / threads,
                    [&](std::int64_t first, std::int64_t last) { work(first, last, 0, 1); });
  } else {
    split_rows(most_parts, multiply_adds, [&](std::int64_t part, std::int64_t parts) { work(0, blocks, part, parts); });
  }
}

}  // namespace bertx::sparse
