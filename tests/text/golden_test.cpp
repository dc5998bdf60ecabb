// The tokenizer against what Hugging Face's fast tokenizer made of the same texts: ids, type ids and offsets.
#include <gtest/gtest.h>

#include <map>

#include "support.h"
#include "text_support.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Returns the number of cases; every difference is a failure that shows the text.
int compare(const fs::path& directory) {
  const std::vector<std::string> vocabulary = lines_of(directory / "vocab.txt");
  std::map<std::string, Tokenizer> tokenizers;  // by settings
  int cases = 0;
  for (const std::string& line : lines_of(directory / "cases.jsonl")) {
    const json golden = json::parse(line);
    const TokenizerOptions options = options_of(golden);
    const std::string settings = json::array({options.lowercase, options.chinese_chars,
                                              options.strip_accents.has_value(), options.strip_accents.value_or(false)})
                                     .dump();
    const Tokenizer& tokenizer = tokenizers.try_emplace(settings, vocabulary, options).first->second;
    const std::string text = golden.at("text"), pair = golden.value("pair", "");
    const int max_length = golden.value("max_length", 0);
    const Encoding found = golden.contains("pair") ? tokenizer.encode_pair(text, pair, max_length, true)
                                                   : tokenizer.encode(text, max_length, true);
    SCOPED_TRACE(line.substr(0, 500));
    EXPECT_EQ(found.ids, golden.at("ids").get<std::vector<std::int32_t>>());
    EXPECT_EQ(found.type_ids, golden.at("type_ids").get<std::vector<std::int32_t>>());
    EXPECT_EQ(found.offsets, (golden.at("offsets").get<std::vector<std::pair<std::int32_t, std::int32_t>>>()));
    ++cases;
  }
  return cases;
}

TEST(TokenizerGolden, OwnCases) { EXPECT_GT(compare(source_directory() / "tests" / "data" / "text"), 400); }

TEST(TokenizerGolden, SharedCases) {
  BERTX_SKIP_WITHOUT_SHARED("golden/tokenizer");
  EXPECT_EQ(compare(*test::shared_path("golden/tokenizer")), 736);
}

// The inputs on which Google's original and Hugging Face's tokenizer are known to differ, or known to agree.
TEST(TokenizerGolden, GoogleModeDiffersWhereTheOriginalDoes) {
  const std::vector<std::string> vocabulary =
      small_vocabulary({"ο",        "##δ",    "##ο",      "##σ",      "##ς",    "a\uE000b", "a\u0378b",
                        "a\u089Cb", "[",      "]",        "mask",     "\u2E52", "a\u2E52b", std::string(101, 'a'),
                        "##\u1112", "\u1112", "##\u1161", "##\u11AB", "ß",      "ı"});
  TokenizerOptions google;
  google.google = true;
  const Tokenizer hf(vocabulary), original(vocabulary, google);
  const auto expect = [&](const std::string& text, std::vector<std::string> by_original,
                          std::vector<std::string> by_hf) {
    EXPECT_EQ(tokens_of(original, text), by_original) << text;
    EXPECT_EQ(tokens_of(hf, text), by_hf) << text;
  };
  const auto same = [&](const std::string& text, std::vector<std::string> tokens) { expect(text, tokens, tokens); };
  expect("ΟΔΟΣ", {"ο", "##δ", "##ο", "##ς"}, {"ο", "##δ", "##ο", "##σ"});
  expect("ΟΔΟΣ.Ο", {"ο", "##δ", "##ο", "##σ", "[UNK]", "ο"}, {"ο", "##δ", "##ο", "##σ", "[UNK]", "ο"});
  expect("ΟΔΟΣ' x", {"ο", "##δ", "##ο", "##ς", "[UNK]", "x"}, {"ο", "##δ", "##ο", "##σ", "[UNK]", "x"});
  expect("a\uE000b", {"a\uE000b"}, {"a", "##b"});
  same("a\u0378b", {"a\u0378b"});
  expect("a\u089Cb", {"a", "##b"}, {"a\u089Cb"});          // a mark of Unicode 14
  expect("a\u2E52b", {"a", "\u2E52", "b"}, {"a\u2E52b"});  // punctuation of Unicode 13
  expect("[MASK]", {"[", "mask", "]"}, {"[MASK]"});
  expect(std::string(101, 'a'), {std::string(101, 'a')}, {"[UNK]"});
  expect(std::string(200, 'b'),
         [] {
           std::vector<std::string> v(200, "##b");
           v[0] = "b";
           return v;
         }(),
         {"[UNK]"});
  same(std::string(201, 'b'), {"[UNK]"});
  same("한", {"\u1112", "##\u1161", "##\u11AB"});
  same("İ", {"i"});
  same("ẞ", {"ß"});
  same("ı", {"ı"});
  same("a\u200Db \uFEFFa\u00ADb", {"a", "##b", "a", "##b"});
  same(
      "a\u0085b a\vb a\x7F"
      "b a\uFFFDb",
      {"a", "##b", "a", "##b", "a", "##b", "a", "##b"});
  same("a\u2028b\u00A0c\u3000d", {"a", "b", "c", "d"});
}

}  // namespace
}  // namespace bertx
