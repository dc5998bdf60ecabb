#include "data/text_file.h"

#include <cstring>

#include "text/utf8.h"

namespace bertx::data {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;

std::string hex(unsigned char byte) {
  constexpr char digits[] = "0123456789abcdef";
  return {digits[byte >> 4], digits[byte & 15]};
}

}  // namespace

TextFile::TextFile(const std::filesystem::path& path) : path_(path), buffer_(kBufferBytes) {
  struct stat status {};
  file_ = open_regular(path, status);
  refill();
  const TextEncoding encoding = detect_encoding({buffer_.data(), end_});
  if (encoding == TextEncoding::utf8_bom) {
    begin_ = 3;
  } else if (encoding != TextEncoding::utf8) {
    fail_at(1, "found ", name_of(encoding), ", expected UTF-8 (iconv converts)");
  }
}

bool TextFile::refill() {
  begin_ = 0;
  end_ = read_at(file_.get(), buffer_.data(), buffer_.size(), offset_, path_);
  offset_ += end_;
  return end_ > 0;
}

bool TextFile::next(std::string& line) {
  line.clear();
  if (begin_ == end_ && !refill()) return false;
  ++line_;
  for (;;) {
    const char* first = buffer_.data() + begin_;
    const char* feed = static_cast<const char*>(std::memchr(first, '\n', end_ - begin_));
    const std::size_t count = feed ? static_cast<std::size_t>(feed - first) : end_ - begin_;
    if (line.size() + count > kMaxLine) {
      fail_at(line_, "found a line of more than ", kMaxLine, " bytes, the most that is read as one text");
    }
    line.append(first, count);
    begin_ += count + (feed ? 1 : 0);
    if (feed || !refill()) break;
  }
  if (line.ends_with('\r')) line.pop_back();
  check(line);
  return true;
}

void TextFile::check(std::string_view line) const {
  if (const std::size_t at = line.find('\0'); at != line.npos) {
    fail_at(line_, "byte ", at + 1, ": found a NUL, expected text in UTF-8 (is the file UTF-16, or no text at all?)");
  }
  if (const std::size_t at = wordpiece::find_malformed_utf8(line); at != line.npos) {
    fail_at(line_, "byte ", at + 1, ": found 0x", hex(static_cast<unsigned char>(line[at])),
            ", which is not UTF-8 here (overlong, cut off, or another encoding); expected UTF-8, iconv converts");
  }
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace bertx::data
