// WordPiece tokenization: text in, token ids out, exactly as the fast Hugging Face BERT tokenizer does it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bertx {

/// The names of the tokens that have a role. The vocabulary must hold unk, cls and sep; pad and mask may be missing.
struct SpecialTokens {
  std::string unk = "[UNK]", cls = "[CLS]", sep = "[SEP]", pad = "[PAD]", mask = "[MASK]";
};

struct TokenizerOptions {
  bool lowercase = true;
  std::optional<bool> strip_accents;  ///< NFD and removal of nonspacing marks; empty: as lowercase
  bool chinese_chars = true;          ///< every CJK ideograph is a word of its own
  bool google = false;                ///< as Google's original tokenization.py instead of Hugging Face's fast tokenizer
  int max_word_chars = 0;             ///< longer words become [UNK]; 0: 100, or 200 in google mode
  int model_max_length = 0;           ///< what the tokenizer's files say a model takes; 0: they say nothing
  SpecialTokens special;
  std::vector<std::string>
      additional_special_tokens;  ///< in the vocabulary, matched whole wherever they stand in a text
};

/// [CLS] text [SEP], or [CLS] first [SEP] second [SEP].
struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;  ///< 0; 1 for the second text and its [SEP]
  /// Only on request: [begin, end) of each token in its own text, in code points; {0, 0} for [CLS] and [SEP].
  /// Each malformed UTF-8 sequence counts as the one U+FFFD that it is read as.
  std::vector<std::pair<std::int32_t, std::int32_t>> offsets;
};

/// One text or a pair, by reference: the strings must outlive the call that takes it.
struct TextView {
  std::string_view first;
  std::optional<std::string_view> second;
};

/// Immutable and cheap to copy; any number of threads may use one tokenizer at once.
class Tokenizer {
 public:
  /// Reads vocab.txt (or tokenizer.json where there is no vocab.txt), tokenizer_config.json and
  /// special_tokens_map.json.
  static Tokenizer load(const std::filesystem::path& model_directory);

  /// vocabulary[i] is the token with id i. Later duplicates win, as in Hugging Face's reader.
  explicit Tokenizer(std::vector<std::string> vocabulary, TokenizerOptions options = {});

  /// At most max_length tokens, [CLS] and [SEP] included (0: no limit; otherwise at least 2).
  Encoding encode(std::string_view text, int max_length = 0, bool offsets = false) const;
  /// The longer of the two texts is cut first (max_length: 0 or at least 3).
  Encoding encode_pair(std::string_view first, std::string_view second, int max_length = 0, bool offsets = false) const;
  Encoding encode(const TextView& text, int max_length = 0, bool offsets = false) const;

  /// encode() of each text, on `threads` threads (0: as many as there are cores).
  std::vector<Encoding> encode_batch(std::span<const TextView> texts, int max_length = 0, int threads = 0,
                                     bool offsets = false) const;
  std::vector<Encoding> encode_batch(std::span<const std::string> texts, int max_length = 0, int threads = 0,
                                     bool offsets = false) const;

  int size() const;
  std::string_view token(int id) const;  ///< id in [0, size())
  std::optional<int> id(std::string_view token) const;

  int unk_id() const;
  int cls_id() const;
  int sep_id() const;
  int pad_id() const;   ///< -1: the vocabulary has none
  int mask_id() const;  ///< -1: the vocabulary has none
  bool is_special(int id) const;

  int model_max_length() const;  ///< 0: unknown
  const TokenizerOptions& options() const;

  /// What a user should hear about: found while loading, or met in the texts so far (Hangul and an uncased vocabulary).
  std::vector<std::string> warnings() const;

  /// Writes vocab.txt, tokenizer_config.json and special_tokens_map.json, which `transformers` loads too.
  void save(const std::filesystem::path& directory) const;

 private:
  struct Impl;
  Tokenizer() = default;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace bertx
