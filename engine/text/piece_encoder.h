// Text to pieces: special tokens, words, punctuation, ideographs, and each word to its pieces.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bertx/tokenizer.h"
#include "text/normalizer.h"
#include "text/special_matcher.h"
#include "text/vocabulary.h"
#include "text/word_trie.h"

namespace bertx::wordpiece {

/// Everything the encoder of a text looks at, built once and shared by all threads.
struct PieceModel {
  PieceModel(std::vector<std::string> tokens, const TokenizerOptions& options, std::vector<std::string>& warnings);

  Vocabulary vocabulary;
  int max_word_chars;
  bool strip_accents, chinese_chars;
  Normalizer normalizer;
  WordTrie trie;
  SpecialMatcher specials;
  std::int32_t unk = -1;
  std::array<std::uint8_t, 256> fold_ascii, keep;  // how the trie reads a byte: lower-cased or as it is
  std::array<std::uint8_t, 256> byte_class;        // CharClass of an ASCII byte, kBeyondAscii for others
};

struct Pieces {
  std::vector<std::int32_t> ids;
  std::vector<std::pair<std::int32_t, std::int32_t>> offsets;
};

/// Encodes one text. The working memory is at most 40 bytes for each byte of the longest stretch without blanks.
class PieceEncoder {
 public:
  PieceEncoder(const PieceModel& model, Pieces& out, bool offsets, std::size_t limit)
      : model_(model), out_(out), want_offsets_(offsets), limit_(limit) {}

  /// Appends the pieces of a text, at most `limit` of them.
  void run(std::string_view text);

  /// Whether a Hangul syllable was taken apart into its letters.
  bool split_hangul() const { return split_hangul_; }

 private:
  bool full() const { return out_.ids.size() >= limit_; }
  void segment(std::string_view text);
  void ascii_stretch(std::string_view text);
  void ascii_word(std::string_view word, std::int32_t first_char);
  void unicode_stretch(std::string_view text);
  void flush_stretch();
  void flush_word();

  const PieceModel& model_;
  Pieces& out_;
  const bool want_offsets_;
  const std::size_t limit_;
  std::int32_t chars_ = 0;  // code points of the text so far
  bool split_hangul_ = false;

  std::vector<Char> stretch_;         // beyond ASCII: characters up to the next blank or ideograph
  std::string word_;                  // its current word, in UTF-8
  std::vector<std::int32_t> source_;  // of each byte of the word, where offsets are wanted
  int word_chars_ = 0;
  std::int32_t word_first_ = 0, word_last_ = 0;  // sources of its first and last character
};

}  // namespace bertx::wordpiece
