// The header of a safetensors file: parsed from untrusted bytes and checked against the size of the file.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "bertx/safetensors.h"

namespace bertx {

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;    ///< in the order of their bytes; `data` points into the file's bytes
  std::vector<std::uint32_t> by_name;  ///< positions in entries, sorted by name
  Metadata metadata;
};

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
/// Real weights have at most 4 dimensions; the limit bounds what a header may make us allocate.
constexpr std::size_t kMaxRank = 32;

/// `file` holds all bytes of the file; only the header is read. Throws Error(bad_input); `source` begins the message.
SafetensorsHeader read_safetensors_header(std::span<std::byte> file, std::string_view source);

/// The position in `entries` of the tensor of this name; nothing where there is none.
const TensorEntry* find_by_name(std::span<const TensorEntry> entries, std::span<const std::uint32_t> by_name,
                                std::string_view name);

/// May stand in messages and on terminals: not empty, no control characters.
bool is_plain_name(std::string_view name);

}  // namespace bertx
