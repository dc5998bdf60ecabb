#include "text/char_classes.h"

#include <utf8proc.h>

#include <algorithm>
#include <span>

#include "text/unicode_tables.h"

namespace bertx::wordpiece {
namespace {

constexpr std::uint32_t kCodePoints = 0x110000;

void add(std::vector<std::uint8_t>& table, CharClass what, std::span<const CodePointRange> ranges) {
  for (const CodePointRange& range : ranges) {
    for (std::uint32_t code = range.first; code <= range.last; ++code) table[code] |= what;
  }
}

bool contains(std::span<const CodePointRange> ranges, std::uint32_t code_point) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), code_point,
                       [](std::uint32_t code, const CodePointRange& range) { return code < range.first; });
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

bool is_ascii_punctuation(std::uint32_t code) {
  return (code >= 33 && code <= 47) || (code >= 58 && code <= 64) || (code >= 91 && code <= 96) ||
         (code >= 123 && code <= 126);
}

// The ideographs as the two programs list them. Hugging Face's begins extension E at U+2B920 instead of U+2B820,
// and its users' models were trained with that.
constexpr CodePointRange kIdeographs[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                                          {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2F800, 0x2FA1F}};
constexpr CodePointRange kIdeographsEHuggingFace[] = {{0x2B920, 0x2CEAF}};
constexpr CodePointRange kIdeographsEGoogle[] = {{0x2B820, 0x2CEAF}};
constexpr CodePointRange kSpaces[] = {{0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                                      {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
constexpr CodePointRange kPrivateUse[] = {{0xE000, 0xF8FF}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD}};

// By the Unicode of the utf8proc at hand, as Google's by the Unicode of the Python at hand.
void add_google(std::vector<std::uint8_t>& table) {
  for (std::uint32_t code = 0x80; code < kCodePoints; ++code) {
    const auto* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(code));
    switch (property->category) {
      case UTF8PROC_CATEGORY_CF: table[code] |= kRemoved; break;
      case UTF8PROC_CATEGORY_MN: table[code] |= kMark; break;
      case UTF8PROC_CATEGORY_PC:
      case UTF8PROC_CATEGORY_PD:
      case UTF8PROC_CATEGORY_PS:
      case UTF8PROC_CATEGORY_PE:
      case UTF8PROC_CATEGORY_PI:
      case UTF8PROC_CATEGORY_PF:
      case UTF8PROC_CATEGORY_PO: table[code] |= kPunctuation; break;
      default: break;
    }
    if (property->combining_class != 0) table[code] |= kCombining;
    if (property->decomp_seqindex != UINT16_MAX && property->decomp_type == 0) table[code] |= kDecomposes;
  }
  for (std::uint32_t code = 0xAC00; code <= 0xD7A3; ++code) table[code] |= kDecomposes;  // Hangul: by arithmetic
}

}  // namespace

CharClasses::CharClasses(bool google) : table_(kCodePoints, kWord) {
  for (std::uint32_t code = 0; code < 0xA0; ++code) {
    if (code < 0x20 || code >= 0x7F) table_[code] = kRemoved;
    if (is_ascii_punctuation(code)) table_[code] = kPunctuation;
  }
  for (const char code : {'\t', '\n', '\r'}) table_[static_cast<unsigned char>(code)] = kSpace;
  add(table_, kSpace, kSpaces);
  add(table_, kIdeograph, kIdeographs);
  if (google) {
    add(table_, kIdeograph, kIdeographsEGoogle);
    add_google(table_);
  } else {
    add(table_, kIdeograph, kIdeographsEHuggingFace);
    add(table_, kRemoved, kPrivateUse);
    add(table_, kRemoved, kFormat8);
    add(table_, kMark, kNonspacingMark8);
    add(table_, kPunctuation, kPunctuation8);
    add(table_, kCombining, kCombining9);
    add(table_, kDecomposes, kDecomposes9);
  }
  table_[0xFFFD] = kRemoved;
}

const CharClasses& CharClasses::hugging_face() {
  static const CharClasses classes(false);
  return classes;
}

const CharClasses& CharClasses::google() {
  static const CharClasses classes(true);
  return classes;
}

bool is_cased(std::uint32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT: return true;
    default: return contains(kOtherCased, code_point);
  }
}

bool is_case_ignorable(std::uint32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: break;
  }
  constexpr std::uint32_t kAscii[] = {'\'', '.', ':'};  // ^ and ` are of category Sk
  return std::ranges::find(kAscii, code_point) != std::end(kAscii) || contains(kOtherCaseIgnorable, code_point);
}

}  // namespace bertx::wordpiece
