// The character-level half of BERT's tokenizer: accents and case, on a stretch of text without blanks.
#pragma once

#include <cstdint>
#include <vector>

#include "text/char_classes.h"

namespace bertx::wordpiece {

/// A code point, and which code point of the original text it comes from.
struct Char {
  std::uint32_t code;
  std::int32_t source;
};

class Normalizer {
 public:
  Normalizer(bool google, bool lowercase, bool strip_accents);

  const CharClasses& classes() const { return *classes_; }

  /// Normalizes a stretch in place: Hugging Face drops accents, then lower-cases each character; Google's original
  /// lower-cases with the final-sigma rule, then drops accents.
  void apply(std::vector<Char>& chars) const;

 private:
  void drop_accents(std::vector<Char>& chars) const;
  void lower_each(std::vector<Char>& chars) const;

  const CharClasses* classes_;
  bool google_, lowercase_, strip_accents_;
};

}  // namespace bertx::wordpiece
