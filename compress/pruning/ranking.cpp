#include "pruning/ranking.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "bertx/sparse/parallel.h"

namespace bertx::compress {
namespace {

// Unsigned numbers in the order of the keys.
std::uint32_t ordered(float x, Key key) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (key == Key::magnitude) return bits & 0x7FFFFFFFu;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

using Histogram = std::vector<std::int64_t>;  // by 16 bits

// Counts, over all parts, the keys for which bin() gives one.
template <class Bin>
Histogram count(std::span<const Ranked> parts, const Bin& bin) {
  Histogram total(65536);
  for (const Ranked& part : parts) {
    sparse::parallel_ranges(part.size, 1 << 18, [&](std::int64_t first, std::int64_t last) {
      Histogram own(65536);
      for (std::int64_t i = first; i < last; ++i) {
        if (const std::int64_t b = bin(part.keys[i]); b >= 0) ++own[static_cast<std::size_t>(b)];
      }
#pragma omp critical(bertx_ranking)
      for (std::size_t b = 0; b < own.size(); ++b) total[b] += own[b];
    });
  }
  return total;
}

// The bin in which the `keep`-th largest lies; `keep` becomes its rank inside the bin.
std::uint32_t find_bin(const Histogram& histogram, std::int64_t& keep) {
  std::uint32_t bin = 65535;
  while (bin > 0 && histogram[bin] < keep) keep -= histogram[bin--];
  return bin;
}

}  // namespace

void keep_largest(std::span<const Ranked> parts, std::int64_t keep, Key key) {
  std::uint32_t limit = 0;
  std::int64_t ties = 0;  // how many keys equal to the limit are kept
  if (keep > 0) {
    std::int64_t rank = keep;
    const std::uint32_t high =
        find_bin(count(parts, [&](float x) { return std::int64_t{ordered(x, key) >> 16}; }), rank);
    const std::uint32_t low = find_bin(count(parts,
                                             [&](float x) -> std::int64_t {
                                               const std::uint32_t bits = ordered(x, key);
                                               return bits >> 16 == high ? std::int64_t{bits & 0xFFFFu} : -1;
                                             }),
                                       rank);
    limit = high << 16 | low;
    ties = rank;
  }
  for (const Ranked& part : parts) {
    sparse::parallel_ranges(part.size, 1 << 16, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) part.mask[i] = keep > 0 && ordered(part.keys[i], key) > limit;
    });
    for (std::int64_t i = 0; i < part.size && ties > 0; ++i) {
      if (ordered(part.keys[i], key) == limit) part.mask[i] = 1, --ties;
    }
  }
}

void keep_largest_of_groups(const Ranked& matrix, std::int64_t cols, std::int64_t group, std::int64_t keep, Key key) {
  if (matrix.size == 0) return;
  sparse::parallel_ranges(matrix.size / cols, std::max<std::int64_t>(1, (1 << 14) / cols),
                          [&](std::int64_t first, std::int64_t last) {
                            std::vector<std::int64_t> order(static_cast<std::size_t>(std::min(group, cols)));
                            for (std::int64_t start = first * cols; start < last * cols;) {
                              const std::int64_t left = cols - start % cols, count = std::min(group, left);
                              const std::int64_t kept = count == group ? keep : (keep * count + group - 1) / group;
                              const auto begin = order.begin(), end = begin + count;
                              std::iota(begin, end, start);
                              std::nth_element(begin, begin + kept, end, [&](std::int64_t a, std::int64_t b) {
                                const std::uint32_t x = ordered(matrix.keys[a], key), y = ordered(matrix.keys[b], key);
                                return x != y ? x > y : a < b;
                              });
                              std::fill_n(matrix.mask + start, count, std::uint8_t{0});
                              std::for_each(begin, begin + kept, [&](std::int64_t i) { matrix.mask[i] = 1; });
                              start += count;
                            }
                          });
}

}  // namespace bertx::compress
