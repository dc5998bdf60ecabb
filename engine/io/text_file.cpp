// Text files: bounded reading, atomic writing, encodings, and untrusted text in messages.
#include <algorithm>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/posix.h"

namespace bertx {
namespace {

/// The length of the well-formed UTF-8 character at the front (RFC 3629), 0 where there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xBF) {
    return byte(i) >= least && byte(i) <= most;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    return follows(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    return follows(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

/// C0, DEL and C1 controls: a terminal may obey them.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 2) return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
  return character.size() == 1 && (first < 0x20 || first == 0x7F);
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  struct stat status {};
  const Descriptor file = open_regular(path, status);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) {
    fail(ErrorKind::bad_input, shown(path), ": found ", size, " bytes, expected at most ", max_bytes);
  }
  // Files of /proc say 0 bytes and a file may grow while it is read, so the end decides and not the size.
  std::string bytes(size, '\0');
  std::size_t length = read_at(file.get(), bytes.data(), bytes.size(), 0, path);
  while (length == bytes.size()) {
    bytes.resize(std::min<std::uint64_t>(length + std::max<std::uint64_t>(length / 2, 4096), max_bytes + 1));
    length += read_at(file.get(), bytes.data() + length, bytes.size() - length, length, path);
    if (length > max_bytes) fail(ErrorKind::bad_input, shown(path), ": longer than the limit of ", max_bytes, " bytes");
  }
  bytes.resize(length);
  return bytes;
}

void write_text_file(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

TextEncoding detect_encoding(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xEF\xBB\xBF"sv)) return TextEncoding::utf8_bom;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return TextEncoding::utf32;
  if (bytes.starts_with("\xFF\xFE"sv)) return TextEncoding::utf16_le;
  if (bytes.starts_with("\xFE\xFF"sv)) return TextEncoding::utf16_be;
  // Latin text in UTF-16 has a zero in every second byte, and real text has none.
  std::size_t zeros[2] = {0, 0};
  const std::size_t seen = std::min<std::size_t>(bytes.size() & ~std::size_t{1}, 64);
  for (std::size_t i = 0; i < seen; ++i) zeros[i % 2] += bytes[i] == '\0';
  if (seen >= 4 && zeros[0] == 0 && zeros[1] * 3 >= seen) return TextEncoding::utf16_le;
  if (seen >= 4 && zeros[1] == 0 && zeros[0] * 3 >= seen) return TextEncoding::utf16_be;
  return TextEncoding::utf8;
}

std::string_view name_of(TextEncoding encoding) {
  switch (encoding) {
    case TextEncoding::utf8: return "UTF-8";
    case TextEncoding::utf8_bom: return "UTF-8 with a byte order mark";
    case TextEncoding::utf16_le: return "UTF-16 (little endian)";
    case TextEncoding::utf16_be: return "UTF-16 (big endian)";
    case TextEncoding::utf32: return "UTF-32";
  }
  return "unknown";
}

std::string quote(std::string_view untrusted, std::size_t max_bytes) {
  constexpr char hex[] = "0123456789abcdef";
  std::string out = "\"";
  std::size_t i = 0;
  while (i < untrusted.size()) {
    const std::size_t length = utf8_length(untrusted.substr(i));
    const std::string_view character = untrusted.substr(i, std::max<std::size_t>(length, 1));
    if (i + character.size() > max_bytes) {
      out += "…";
      break;
    }
    if (length == 0 || is_control(character)) {
      for (const char c : character) {
        const auto byte = static_cast<unsigned char>(c);
        out += {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
      }
    } else {
      out += character;
    }
    i += character.size();
  }
  out += '"';
  return out;
}

}  // namespace bertx
