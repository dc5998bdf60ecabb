// UTF-8 in and out, for text that nobody has checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bertx::wordpiece {

inline constexpr std::uint32_t kReplacement = 0xFFFD;

/// Decodes one code point at p < end and moves p behind it. A malformed sequence (truncated, overlong, a surrogate,
/// beyond U+10FFFF) is U+FFFD, and its maximal valid prefix is consumed, as Unicode and Python's decoder do it.
inline std::uint32_t decode_utf8(const char*& p, const char* end) {
  const auto lead = static_cast<unsigned char>(*p++);
  if (lead < 0x80) return lead;
  int more;                                     // continuation bytes
  std::uint32_t low = 0x80, high = 0xBF, code;  // the range of the first of them excludes what is malformed
  if (lead >= 0xC2 && lead <= 0xDF) {
    more = 1;
    code = lead & 0x1Fu;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    more = 2;
    code = lead & 0x0Fu;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    more = 3;
    code = lead & 0x07u;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return kReplacement;
  }
  for (; more > 0; --more, low = 0x80, high = 0xBF) {
    if (p == end) return kReplacement;
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < low || byte > high) return kReplacement;
    code = code << 6 | (byte & 0x3Fu);
    ++p;
  }
  return code;
}

inline void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | code >> 6);
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3F));
    byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

/// The position of the first malformed byte, or npos. (A well-formed U+FFFD is three bytes, a malformed sequence
/// is shorter or does not spell it.)
inline std::size_t find_malformed_utf8(std::string_view text) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  for (const char* p = begin; p != end;) {
    const char* const start = p;
    if (decode_utf8(p, end) == kReplacement && std::string_view(start, p - start) != "\xEF\xBF\xBD") {
      return static_cast<std::size_t>(start - begin);
    }
  }
  return std::string_view::npos;
}

inline std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char *p = text.data(), *end = p + text.size(); p != end; ++count) decode_utf8(p, end);
  return count;
}

}  // namespace bertx::wordpiece
