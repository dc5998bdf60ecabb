#include "train/crc32c.h"

#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <vector>

#include "bertx/error.h"

namespace bertx {
namespace {

static_assert(std::endian::native == std::endian::little);

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// Table k advances a byte by k further bytes, so that eight bytes are one step ("slicing by 8").
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
    tables[0][i] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t i = 0; i < 256; ++i) {
      tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 255];
    }
  }
  return tables;
}
constexpr Tables kTables = make_tables();

}  // namespace

std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t before) {
  const unsigned char* p = static_cast<const unsigned char*>(data);
  std::uint32_t crc = ~before;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 255];
  }
  for (; bytes > 0; --bytes, ++p) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 255];
  return ~crc;
}

FileChecksum checksum_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    fail(ErrorKind::io, path.string(), ": found no regular file");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(ErrorKind::io, path.string(), ": cannot be opened");
  FileChecksum sum;
  std::vector<char> block(std::size_t{1} << 20);
  while (in) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    const std::size_t got = static_cast<std::size_t>(in.gcount());
    sum.crc = crc32c(block.data(), got, sum.crc);
    sum.bytes += got;
  }
  if (in.bad()) fail(ErrorKind::io, path.string(), ": cannot be read");
  return sum;
}

std::string crc_text(std::uint32_t crc) {
  std::string out(8, '0');
  for (std::size_t i = 8; i-- > 0; crc >>= 4) out[i] = "0123456789abcdef"[crc & 15];
  return out;
}

}  // namespace bertx
