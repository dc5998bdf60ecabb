// What must hold for every text: no crash, sane offsets, the same pieces as the definition gives, on any threads.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "bertx/error.h"
#include "text/utf8.h"
#include "text/word_trie.h"
#include "text_support.h"

namespace bertx {
namespace {

std::string random_text(std::mt19937& random, int parts) {
  static const std::vector<std::string> kParts = {"the",
                                                  "cat",
                                                  "CAT",
                                                  "[MASK]",
                                                  "[SEP",
                                                  " ",
                                                  "\t",
                                                  ".",
                                                  "'",
                                                  "é",
                                                  "e\u0301",
                                                  "中",
                                                  "한",
                                                  "😀",
                                                  "\u200d",
                                                  "Σ",
                                                  "İ",
                                                  "\u0327",
                                                  "\U000111c0",
                                                  "\u2028",
                                                  "\xff",
                                                  "\xe4\xb8",
                                                  "\xc0\xaf",
                                                  "\xed\xa0\x80",
                                                  std::string(1, '\0'),
                                                  "\xf5",
                                                  "x"};
  std::string text;
  for (int i = 0; i < parts; ++i) {
    text += random() % 4 == 0 ? std::string(1, static_cast<char>(random())) : kParts[random() % kParts.size()];
  }
  return text;
}

const Tokenizer& own_tokenizer() {
  static const Tokenizer tokenizer(lines_of(source_directory() / "tests" / "data" / "text" / "vocab.txt"));
  return tokenizer;
}

TEST(TokenizerProperties, AnyBytesGiveValidIdsAndMonotoneOffsetsWithinTheText) {
  std::mt19937 random(1);
  TokenizerOptions google;
  google.google = true;
  const std::vector<Tokenizer> tokenizers = {
      own_tokenizer(), Tokenizer(lines_of(source_directory() / "tests" / "data" / "text" / "vocab.txt"), google)};
  for (int round = 0; round < 4000; ++round) {
    const std::string text = random_text(random, static_cast<int>(random() % 40));
    const auto length = static_cast<int>(wordpiece::count_code_points(text));
    for (const Tokenizer& tokenizer : tokenizers) {
      const Encoding encoding = tokenizer.encode(text, 0, true);
      ASSERT_EQ(encoding.ids.size(), encoding.offsets.size());
      ASSERT_EQ(encoding.ids.size(), encoding.type_ids.size());
      for (std::size_t i = 1, before = 0; i + 1 < encoding.ids.size(); ++i) {
        const auto [begin, end] = encoding.offsets[i];
        ASSERT_TRUE(encoding.ids[i] >= 0 && encoding.ids[i] < tokenizer.size());
        ASSERT_TRUE(begin >= static_cast<int>(before) && begin < end && end <= length) << text;
        before = static_cast<std::size_t>(begin);
      }
      EXPECT_EQ(tokenizer.encode(text).ids, encoding.ids);
    }
  }
}

// The definition of WordPiece, by search; empty where the word cannot be covered.
std::vector<std::int32_t> greedy(const std::vector<std::string>& vocabulary, std::string_view word) {
  std::vector<std::int32_t> ids;
  for (std::size_t at = 0; at < word.size();) {
    std::size_t best = 0;
    std::int32_t best_id = -1;
    for (std::size_t i = 0; i < vocabulary.size(); ++i) {
      std::string_view piece = vocabulary[i];
      if (piece.starts_with("##") != (at > 0)) continue;
      if (at > 0) piece.remove_prefix(2);
      if (piece.empty() || piece.size() < best || !word.substr(at).starts_with(piece)) continue;
      best = piece.size();
      best_id = static_cast<std::int32_t>(i);
    }
    if (best == 0) return {};
    ids.push_back(best_id);
    at += best;
  }
  return ids;
}

TEST(WordTrie, EqualsTheGreedyDefinitionOnRandomVocabularies) {
  std::mt19937 random(2);
  std::array<std::uint8_t, 256> keep;
  for (int i = 0; i < 256; ++i) keep[i] = static_cast<std::uint8_t>(i);
  int covered = 0;
  for (int round = 0; round < 300; ++round) {
    const int letters = 2 + static_cast<int>(random() % 2);
    const auto word = [&](int longest) {
      std::string text;
      for (int i = static_cast<int>(random() % longest); i >= 0; --i)
        text += static_cast<char>("ab\xC3"[random() % letters]);
      return text;
    };
    std::vector<std::string> vocabulary;
    for (int i = 0; i < 12; ++i) vocabulary.push_back((random() % 2 ? "##" : "") + word(6));
    const wordpiece::WordTrie trie(vocabulary, 100);
    for (int i = 0; i < 60; ++i) {
      const std::string text = word(12);
      std::vector<std::int32_t> found = {-7};
      const std::vector<std::int32_t> expected = greedy(vocabulary, text);
      EXPECT_EQ(trie.match(text, keep.data(), found), !expected.empty());
      EXPECT_EQ(std::vector<std::int32_t>(found.begin() + 1, found.end()), expected) << text;
      covered += !expected.empty();
    }
  }
  EXPECT_GT(covered, 1000);  // else the test says little
}

TEST(TokenizerProperties, BatchEqualsSinglesOnAnyNumberOfThreads) {
  std::mt19937 random(3);
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) texts.push_back(random_text(random, 20));
  std::vector<TextView> views;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    views.push_back({texts[i], i % 2 ? std::optional<std::string_view>(texts[i / 2]) : std::nullopt});
  }
  for (const int threads : {1, 2, 4, 0}) {
    const auto batch = own_tokenizer().encode_batch(std::span<const TextView>(views), 16, threads, true);
    const auto singles = own_tokenizer().encode_batch(std::span<const std::string>(texts), 0, threads);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Encoding one = own_tokenizer().encode(views[i], 16, true);
      ASSERT_EQ(batch[i].ids, one.ids);
      ASSERT_EQ(batch[i].type_ids, one.type_ids);
      ASSERT_EQ(batch[i].offsets, one.offsets);
      ASSERT_EQ(singles[i].ids, own_tokenizer().encode(texts[i]).ids);
    }
  }
  EXPECT_THROW(own_tokenizer().encode_batch(std::span<const TextView>(views), 2, 4), Error);
}

TEST(TokenizerProperties, ManyThreadsShareOne) {
  const std::vector<std::int32_t> expected = own_tokenizer().encode("한 unaffable é").ids;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) EXPECT_EQ(own_tokenizer().encode("한 unaffable é").ids, expected);
    });
  }
}

TEST(TokenizerProperties, MalformedUtf8IsRemovedAndCountsAsOneCharacterEach) {
  const Tokenizer tokenizer(small_vocabulary());
  // overlong (two bytes), a surrogate (three), a truncated sequence (one), beyond U+10FFFF, a stray continuation
  const Encoding encoding = tokenizer.encode(
      "a\xC0\xAF"
      "b\xED\xA0\x80"
      "c\xE4\xB8"
      "d\xF5"
      "e\x80"
      "f",
      0, true);
  EXPECT_EQ(tokens_of(tokenizer,
                      "a\xC0\xAF"
                      "b"),
            (std::vector<std::string>{"a", "##b"}));
  ASSERT_EQ(encoding.ids.size(), 8u);
  const std::vector<std::pair<int, int>> offsets(encoding.offsets.begin() + 1, encoding.offsets.end() - 1);
  EXPECT_EQ(offsets, (std::vector<std::pair<int, int>>{{0, 1}, {3, 4}, {7, 8}, {9, 10}, {11, 12}, {13, 14}}));
}

TEST(TokenizerProperties, TruncationTakesFromTheLongerAndMayConsumeASide) {
  const Tokenizer tokenizer(small_vocabulary());
  const auto kept = [&](const char* first, const char* second, int max_length) {
    const Encoding encoding = tokenizer.encode_pair(first, second, max_length);
    const auto ones = std::count(encoding.type_ids.begin(), encoding.type_ids.end(), 1);
    return std::pair(static_cast<int>(encoding.ids.size() - ones) - 2, static_cast<int>(ones) - 1);
  };
  EXPECT_EQ(kept("a b c d e", "a b", 3), std::pair(0, 0));
  EXPECT_EQ(kept("a b c d e", "a b", 4), std::pair(1, 0));  // one side is consumed
  EXPECT_EQ(kept("a b", "a b c d e", 4), std::pair(0, 1));
  EXPECT_EQ(kept("a b", "a b", 4), std::pair(0, 1));
  EXPECT_EQ(kept("a b c d e", "a b", 8), std::pair(3, 2));
  EXPECT_EQ(kept("a b c d e", "", 5), std::pair(2, 0));
  EXPECT_EQ(kept("a b c d e", "a b", 10), std::pair(5, 2));
  EXPECT_EQ(tokenizer.encode("a b c", 2).ids.size(), 2u);
  EXPECT_THROW(tokenizer.encode("a", 1), Error);
  EXPECT_THROW(tokenizer.encode("a", -1), Error);
  EXPECT_THROW(tokenizer.encode_pair("a", "b", 2), Error);
}

TEST(TokenizerProperties, HugeTextsStayLinear) {
  const Tokenizer tokenizer(small_vocabulary({"中"}));
  const auto repeated = [](std::string_view part, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += part;
    return text;
  };
  constexpr std::size_t kBytes = 2u << 20;
  EXPECT_EQ(tokenizer.encode(std::string(kBytes, 'a')).ids.size(), 3u);                // one long word
  EXPECT_EQ(tokenizer.encode(repeated("\u0130", kBytes)).ids.size(), 3u);              // each becomes two characters
  EXPECT_EQ(tokenizer.encode("a" + repeated("\u0327\u0301", kBytes)).ids.size(), 3u);  // one long run of marks
  EXPECT_EQ(tokenizer.encode(repeated("中", kBytes), 128).ids.size(), 128u);
  EXPECT_EQ(tokenizer.encode(repeated(std::string(1, '\0'), kBytes)).ids.size(), 2u);
}

}  // namespace
}  // namespace bertx
