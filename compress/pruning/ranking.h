// Masks from rankings: the k largest of one matrix, or of all matrices together.
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

}  // namespace bertx::compress
