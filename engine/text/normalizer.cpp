#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace bertx::wordpiece {
namespace {

constexpr std::uint32_t kCapitalSigma = 0x3A3, kSigma = 0x3C3, kFinalSigma = 0x3C2;
constexpr std::uint32_t kCapitalIDot = 0x130, kDotAbove = 0x307;

// Lower-case pairs of Unicode 16 and 17, which Hugging Face's tokenizer knows and older versions of utf8proc do not.
struct CasePairs {
  std::uint32_t first, last;
  std::int32_t to_lower;
};
constexpr CasePairs kLaterPairs[] = {{0x1C89, 0x1C89, 1},    {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                     {0xA7CC, 0xA7CC, 1},    {0xA7CE, 0xA7CE, 1},
                                     {0xA7D2, 0xA7D2, 1},    {0xA7D4, 0xA7D4, 1},
                                     {0xA7DA, 0xA7DA, 1},    {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                     {0x10D50, 0x10D65, 32}, {0x16EA0, 0x16EB8, 27}};

// The lower case of one code point. (That of U+0130 has two; the caller knows.)
std::uint32_t lower(std::uint32_t code) {
  if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + 32 : code;
  const auto simple = static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
  if (simple != code || code < kLaterPairs[0].first) return simple;
  for (const CasePairs& pairs : kLaterPairs) {
    if (code >= pairs.first && code <= pairs.last) return code + static_cast<std::uint32_t>(pairs.to_lower);
  }
  return code;
}

// Whether the capital sigma at `at` ends a word: a cased letter before it and none behind it, case-ignorable
// characters aside.
bool is_final_sigma(const std::vector<Char>& chars, std::size_t at) {
  const auto cased_next = [](auto from, auto to) {
    from = std::find_if(from, to, [](const Char& c) { return !is_case_ignorable(c.code); });
    return from != to && is_cased(from->code);
  };
  const auto here = chars.begin() + static_cast<std::ptrdiff_t>(at);
  return cased_next(std::make_reverse_iterator(here), chars.rend()) && !cased_next(here + 1, chars.end());
}

// Characters of combining classes other than 0 in a row: NFD sorts them by class. Most are marks that go anyway.
class CombiningRun {
 public:
  explicit CombiningRun(const CharClasses& classes) : classes_(classes) {}

  // `leads`: it is the first, or only, character that its original became.
  void add(std::uint32_t code, std::int32_t source, bool leads, bool stays) {
    parts_.push_back({{code, source}, leads});
    any_stays_ |= stays;
  }

  // Appends those that stay, in canonical order.
  void finish(std::vector<Char>& out) {
    if (any_stays_) {
      if (parts_.size() > 1) sort();
      for (const Part& part : parts_) {
        if (!(classes_.of(part.c.code) & kMark)) out.push_back(part.c);
      }
    }
    parts_.clear();
    any_stays_ = false;
  }

 private:
  struct Part {
    Char c;
    bool leads;
  };

  // Only the characters change places: Hugging Face's offsets count leading characters from the left, wherever
  // those came from.
  void sort() {
    std::vector<std::int32_t> sources;
    for (const Part& part : parts_) {
      if (part.leads) sources.push_back(part.c.source);
    }
    std::stable_sort(parts_.begin(), parts_.end(),
                     [](const Part& a, const Part& b) { return combining_class(a) < combining_class(b); });
    std::size_t next = 0;
    std::int32_t source = parts_.front().c.source;
    for (Part& part : parts_) {
      if (part.leads) source = sources[next++];
      part.c.source = source;
    }
  }

  static int combining_class(const Part& part) {
    return utf8proc_get_property(static_cast<utf8proc_int32_t>(part.c.code))->combining_class;
  }

  const CharClasses& classes_;
  std::vector<Part> parts_;
  bool any_stays_ = false;
};

}  // namespace

Normalizer::Normalizer(bool google, bool lowercase, bool strip_accents)
    : classes_(google ? &CharClasses::google() : &CharClasses::hugging_face()),
      google_(google),
      lowercase_(lowercase),
      strip_accents_(strip_accents) {}

void Normalizer::apply(std::vector<Char>& chars) const {
  if (google_) {
    if (lowercase_) lower_each(chars);
    if (strip_accents_) drop_accents(chars);
  } else {
    if (strip_accents_) drop_accents(chars);
    if (lowercase_) lower_each(chars);
  }
}

// NFD without its nonspacing marks.
void Normalizer::drop_accents(std::vector<Char>& chars) const {
  constexpr std::uint8_t kTouched = kMark | kCombining | kDecomposes;
  const auto touched = [&](const Char& c) { return (classes_->of(c.code) & kTouched) != 0; };
  const auto first = std::find_if(chars.begin(), chars.end(), touched);
  if (first == chars.end()) return;

  std::vector<Char> out(chars.begin(), first);
  CombiningRun run(*classes_);
  const auto add = [&](std::uint32_t code, std::int32_t source, bool leads) {
    const std::uint8_t kind = classes_->of(code);
    if (kind & kCombining) {
      run.add(code, source, leads, (kind & kMark) == 0);
    } else {
      run.finish(out);
      if (!(kind & kMark)) out.push_back({code, source});
    }
  };
  for (auto c = first; c != chars.end(); ++c) {
    if (!(classes_->of(c->code) & kDecomposes)) {
      add(c->code, c->source, true);
      continue;
    }
    utf8proc_int32_t parts[8];  // the longest canonical decomposition has 4
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c->code), parts, std::ssize(parts),
                                               UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < count; ++i) add(static_cast<std::uint32_t>(parts[i]), c->source, i == 0);
  }
  run.finish(out);
  chars.swap(out);
}

void Normalizer::lower_each(std::vector<Char>& chars) const {
  bool has_capital_i_dot = false;
  for (std::size_t i = 0; i < chars.size(); ++i) {
    std::uint32_t& code = chars[i].code;
    has_capital_i_dot |= code == kCapitalIDot;
    if (code == kCapitalSigma && google_) {
      code = is_final_sigma(chars, i) ? kFinalSigma : kSigma;
    } else if (code != kCapitalIDot) {
      code = lower(code);
    }
  }
  if (!has_capital_i_dot) return;
  std::vector<Char> out;  // the one character whose lower case has two
  out.reserve(chars.size() + 1);
  for (const Char& c : chars) {
    out.push_back({c.code == kCapitalIDot ? 'i' : c.code, c.source});
    if (c.code == kCapitalIDot) out.push_back({kDotAbove, c.source});
  }
  chars.swap(out);
}

}  // namespace bertx::wordpiece
