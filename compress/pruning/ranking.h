// Masks from rankings: the k largest of one matrix, of all matrices together, or of every group of a row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bertx::compress {

/// Numbers to rank, and where their mask goes; both of `size`.
struct Ranked {
  const float* keys = nullptr;
  std::uint8_t* mask = nullptr;
  std::int64_t size = 0;
};

enum class Key : std::uint8_t { value, magnitude };

/// mask = 1 for the `keep` largest keys of all parts together, 0 elsewhere; of equal keys the earlier one is kept.
/// Linear in time (two counting passes over the bits of the keys), on all threads.
void keep_largest(std::span<const Ranked> parts, std::int64_t keep, Key key);

/// The same inside every group of `group` consecutive columns of each row [rows, cols]: `keep` of a group are kept, and
/// of the columns that are left over at the end of a row the same share, rounded up.
void keep_largest_of_groups(const Ranked& matrix, std::int64_t cols, std::int64_t group, std::int64_t keep, Key key);

}  // namespace bertx::compress
