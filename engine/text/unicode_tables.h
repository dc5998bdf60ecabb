// Properties of Unicode as sorted ranges of code points beyond ASCII (generated; see unicode_tables.cpp).
#pragma once

#include <cstdint>
#include <span>

namespace bertx::wordpiece {

struct CodePointRange {
  std::uint32_t first, last;
};

extern const std::span<const CodePointRange> kFormat8;             // Cf, Unicode 8
extern const std::span<const CodePointRange> kNonspacingMark8;     // Mn, Unicode 8
extern const std::span<const CodePointRange> kPunctuation8;        // P*, Unicode 8
extern const std::span<const CodePointRange> kCombining9;          // combining class not 0, Unicode 9
extern const std::span<const CodePointRange> kDecomposes9;         // changed by NFD, Unicode 9
extern const std::span<const CodePointRange> kOtherCased;          // Cased beyond Lu, Ll, Lt
extern const std::span<const CodePointRange> kOtherCaseIgnorable;  // Case_Ignorable beyond Mn, Me, Cf, Lm, Sk

}  // namespace bertx::wordpiece
