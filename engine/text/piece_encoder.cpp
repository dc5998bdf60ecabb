#include "text/piece_encoder.h"

#include <algorithm>

#include "text/utf8.h"

namespace bertx::wordpiece {
namespace {

constexpr std::uint8_t kBeyondAscii = 128;
constexpr std::size_t kSuffixMarkBytes = 2;  // "##"

int word_limit(const TokenizerOptions& options) {
  return options.max_word_chars > 0 ? options.max_word_chars : options.google ? 200 : 100;
}

}  // namespace

PieceModel::PieceModel(std::vector<std::string> tokens, const TokenizerOptions& options,
                       std::vector<std::string>& warnings)
    : vocabulary(std::move(tokens), warnings),
      max_word_chars(word_limit(options)),
      strip_accents(options.strip_accents.value_or(options.lowercase)),
      chinese_chars(options.chinese_chars),
      normalizer(options.google, options.lowercase, strip_accents),
      trie(vocabulary.tokens(), max_word_chars) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto same = static_cast<std::uint8_t>(byte);
    keep[byte] = same;
    fold_ascii[byte] = options.lowercase && byte >= 'A' && byte <= 'Z' ? static_cast<std::uint8_t>(byte + 32) : same;
    byte_class[byte] = byte < 0x80 ? normalizer.classes().ascii()[byte] : kBeyondAscii;
  }
  const auto& names = options.special;
  unk = vocabulary.find(names.unk).value_or(-1);
  if (options.google) return;  // where "[MASK]" in a text is three words
  std::vector<std::pair<std::string, std::int32_t>> found;
  const auto add = [&](const std::string& name) {
    if (const auto id = vocabulary.find(name)) found.emplace_back(name, *id);
  };
  for (const auto* name : {&names.unk, &names.cls, &names.sep, &names.pad, &names.mask}) add(*name);
  for (const auto& name : options.additional_special_tokens) add(name);
  specials = SpecialMatcher(std::move(found));
}

void PieceEncoder::run(std::string_view text) {
  for (std::size_t at = 0; !full();) {
    const SpecialMatcher::Match special = model_.specials.find(text, at);
    segment(text.substr(at, special.position - at));
    if (special.position == std::string_view::npos || full()) break;
    const std::string_view spelling = text.substr(special.position, special.length);
    const auto end = chars_ + static_cast<std::int32_t>(count_code_points(spelling));
    out_.ids.push_back(special.id);
    if (want_offsets_) out_.offsets.emplace_back(chars_, end);
    chars_ = end;
    at = special.position + special.length;
  }
  if (out_.ids.size() > limit_) out_.ids.resize(limit_);
  if (out_.offsets.size() > limit_) out_.offsets.resize(limit_);
}

// A text without special tokens. Most stretches between blanks are plain ASCII, which needs no normalization beyond
// the case and no decoding.
void PieceEncoder::segment(std::string_view text) {
  const auto class_of = [&](char c) { return model_.byte_class[static_cast<unsigned char>(c)]; };
  for (std::size_t at = 0; at < text.size() && !full();) {
    if (class_of(text[at]) & kSpace) {
      ++at, ++chars_;
      continue;
    }
    std::uint8_t seen = 0;
    std::size_t end = at;
    for (std::uint8_t kind; end < text.size() && !((kind = class_of(text[end])) & kSpace); ++end) seen |= kind;
    const std::string_view stretch = text.substr(at, end - at);
    if (seen & (kBeyondAscii | kRemoved)) {
      unicode_stretch(stretch);
    } else {
      ascii_stretch(stretch);
    }
    at = end;
  }
}

void PieceEncoder::ascii_stretch(std::string_view text) {
  const auto is_word = [&](char c) { return model_.byte_class[static_cast<unsigned char>(c)] == kWord; };
  for (std::size_t at = 0; at < text.size() && !full();) {
    std::size_t end = at + 1;
    if (is_word(text[at])) {
      while (end < text.size() && is_word(text[end])) ++end;
    }
    ascii_word(text.substr(at, end - at), chars_ + static_cast<std::int32_t>(at));
    at = end;
  }
  chars_ += static_cast<std::int32_t>(text.size());
}

void PieceEncoder::ascii_word(std::string_view word, std::int32_t first_char) {
  const std::size_t before = out_.ids.size();
  const auto end_char = first_char + static_cast<std::int32_t>(word.size());
  if (word.size() > static_cast<std::size_t>(model_.max_word_chars) ||
      !model_.trie.match(word, model_.fold_ascii.data(), out_.ids)) {
    out_.ids.push_back(model_.unk);
    if (want_offsets_) out_.offsets.emplace_back(first_char, end_char);
    return;
  }
  if (!want_offsets_) return;
  for (std::size_t i = before; i < out_.ids.size(); ++i) {
    const std::size_t bytes = model_.vocabulary.tokens()[out_.ids[i]].size() - (i == before ? 0 : kSuffixMarkBytes);
    out_.offsets.emplace_back(first_char, first_char + static_cast<std::int32_t>(bytes));
    first_char += static_cast<std::int32_t>(bytes);
  }
}

// A text without ASCII blanks. Ideographs stand alone; what lies between them and Unicode's blanks is normalized as a
// whole, because combining characters reorder and a final sigma depends on what follows.
void PieceEncoder::unicode_stretch(std::string_view text) {
  for (const char *p = text.data(), *end = p + text.size(); p != end && !full(); ++chars_) {
    const std::uint32_t code = decode_utf8(p, end);
    const std::uint8_t kind = model_.normalizer.classes().of(code);
    if (kind & kRemoved) continue;
    if (kind & kSpace) {
      flush_stretch();
    } else if ((kind & kIdeograph) && model_.chinese_chars) {
      flush_stretch();
      stretch_.push_back({code, chars_});
      flush_stretch();
    } else {
      stretch_.push_back({code, chars_});
      split_hangul_ |= code >= 0xAC00 && code <= 0xD7A3 && model_.strip_accents;
    }
  }
  flush_stretch();
}

// Normalizes the stretch and cuts it at its punctuation.
void PieceEncoder::flush_stretch() {
  if (stretch_.empty()) return;
  model_.normalizer.apply(stretch_);
  for (const Char& c : stretch_) {
    const bool punctuation = model_.normalizer.classes().of(c.code) & kPunctuation;
    if (punctuation) flush_word();
    if (word_chars_++ == 0) word_first_ = c.source;
    word_last_ = c.source;
    if (word_chars_ <= model_.max_word_chars) {
      append_utf8(word_, c.code);
      if (want_offsets_) source_.resize(word_.size(), c.source);
    }
    if (punctuation) flush_word();
  }
  flush_word();
  stretch_.clear();
}

void PieceEncoder::flush_word() {
  if (word_chars_ == 0) return;
  const std::size_t before = out_.ids.size();
  if (word_chars_ > model_.max_word_chars || !model_.trie.match(word_, model_.keep.data(), out_.ids)) {
    out_.ids.push_back(model_.unk);
    if (want_offsets_) out_.offsets.emplace_back(word_first_, word_last_ + 1);
  } else if (want_offsets_) {
    std::size_t at = 0;
    for (std::size_t i = before; i < out_.ids.size(); ++i) {
      const std::size_t bytes = model_.vocabulary.tokens()[out_.ids[i]].size() - (i == before ? 0 : kSuffixMarkBytes);
      out_.offsets.emplace_back(source_[at], source_[at + bytes - 1] + 1);
      at += bytes;
    }
  }
  word_.clear();
  source_.clear();
  word_chars_ = 0;
}

}  // namespace bertx::wordpiece
