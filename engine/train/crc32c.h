// CRC-32C (Castagnoli): what TensorBoard's records are framed with and checkpoints are verified by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace bertx {

/// Of `bytes` bytes; `before` is the checksum of what came before them.
std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t before = 0);

struct FileChecksum {
  std::uint64_t bytes = 0;
  std::uint32_t crc = 0;
};
/// Of a whole regular file. Throws Error(io).
FileChecksum checksum_file(const std::filesystem::path& path);

std::string crc_text(std::uint32_t crc);  ///< eight hexadecimal digits

}  // namespace bertx
