// What a code point is to BERT's basic tokenizer.
#pragma once

#include <cstdint>
#include <vector>

namespace bertx::wordpiece {

enum CharClass : std::uint8_t {
  kWord = 0,
  kSpace = 1,        // separates words
  kRemoved = 2,      // control and format characters, U+FFFD
  kIdeograph = 4,    // a CJK ideograph: spaced out
  kPunctuation = 8,  // a word of its own
  kMark = 16,        // dropped with the accents
  kCombining = 32,   // canonical combining class other than 0
  kDecomposes = 64,  // changed by NFD
};

/// The classes of all code points, one byte each. There are two sets: Hugging Face's fast tokenizer carries
/// tables of Unicode 8 (9 for the normalization), Google's original uses the Unicode of its Python.
class CharClasses {
 public:
  static const CharClasses& hugging_face();
  static const CharClasses& google();

  std::uint8_t of(std::uint32_t code_point) const { return table_[code_point]; }
  const std::uint8_t* ascii() const { return table_.data(); }

 private:
  explicit CharClasses(bool google);
  std::vector<std::uint8_t> table_;
};

/// The final-sigma rule of Unicode looks at these.
bool is_cased(std::uint32_t code_point);
bool is_case_ignorable(std::uint32_t code_point);

}  // namespace bertx::wordpiece
