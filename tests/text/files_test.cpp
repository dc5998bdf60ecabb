// The files of a tokenizer: what loads, what is refused and how, and that what is saved loads again.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "bertx/error.h"
#include "support.h"
#include "text_support.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TokenizerFilesTest : public testing::Test {
 protected:
  void write(const char* name, const std::string& bytes) { std::ofstream(path(name), std::ios::binary) << bytes; }
  fs::path path(const char* name) const { return directory_.path() / name; }

  void write_vocabulary(const std::vector<std::string>& tokens, const std::string& line_end = "\n") {
    std::string lines;
    for (const std::string& token : tokens) lines += token + line_end;
    write("vocab.txt", lines);
  }
  Tokenizer load() const { return Tokenizer::load(directory_.path()); }

  // Loading fails with this kind, and the message has every one of the parts.
  void expect_refused(const std::vector<std::string>& parts, ErrorKind kind = ErrorKind::bad_input) const {
    try {
      load();
      ADD_FAILURE() << "loaded; expected an error with " << json(parts);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " is not in: " << error.what();
      }
    }
  }
  void expect_warning(const std::string& part) const {
    const auto warnings = load().warnings();
    EXPECT_TRUE(std::ranges::any_of(warnings, [&](const auto& w) { return w.find(part) != std::string::npos; }))
        << part << " is not in " << json(warnings);
  }

  json tokenizer_json(const std::vector<std::string>& tokens) const {
    json vocabulary = json::object();
    for (std::size_t i = 0; i < tokens.size(); ++i) vocabulary[tokens[i]] = i;
    return {{"model", {{"type", "WordPiece"}, {"vocab", vocabulary}, {"unk_token", "[UNK]"}}},
            {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", false}, {"strip_accents", nullptr}}},
            {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
            {"added_tokens", json::array({{{"id", 4}, {"content", "[MASK]"}, {"special", true}}})}};
  }

  test::TemporaryDirectory directory_;
};

TEST_F(TokenizerFilesTest, VocabularyLineEndsAndByteOrderMark) {
  const auto expected = Tokenizer(small_vocabulary()).encode("hello world").ids;
  write_vocabulary(small_vocabulary(), "\r\n");
  EXPECT_EQ(load().encode("hello world").ids, expected);
  EXPECT_TRUE(load().warnings().empty());
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na");  // no final newline
  EXPECT_EQ(load().size(), 5);
  EXPECT_EQ(load().token(4), "a");
  write("vocab.txt", "\xEF\xBB\xBF[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n\n\n");
  EXPECT_EQ(load().pad_id(), 0);
  EXPECT_EQ(load().mask_id(), -1);
  EXPECT_EQ(load().size(), 5);  // blank lines at the end are no tokens
  expect_warning("byte order mark");
}

TEST_F(TokenizerFilesTest, BlankLineInsideKeepsItsId) {
  write("vocab.txt", "[PAD]\n[UNK]\n\n[CLS]\n[SEP]\na\n");
  EXPECT_EQ(load().encode("a").ids, (std::vector<std::int32_t>{3, 5, 4}));
  expect_warning("vocab.txt:3: a blank line");
}

TEST_F(TokenizerFilesTest, LaterDuplicateWins) {
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\na\n");
  EXPECT_EQ(load().encode("a b").ids, (std::vector<std::int32_t>{2, 6, 5, 3}));
  EXPECT_EQ(load().size(), 7);
  expect_warning("\"a\" has the ids 4 and 6");
}

TEST_F(TokenizerFilesTest, BadVocabularies) {
  expect_refused({"neither vocab.txt nor tokenizer.json"}, ErrorKind::io);
  for (const char* empty : {"", "\n", "\r\n\r\n"}) {
    write("vocab.txt", empty);
    expect_refused({"vocab.txt", "no tokens", "expected one token a line"});
  }
  write("vocab.txt", "[PAD]\n[CLS]\n[SEP]\na\n");
  expect_refused({"vocab.txt", "no token \"[UNK]\"", "expected"});
  write("vocab.txt", "[UNK]\n[SEP]\na\n");
  expect_refused({"vocab.txt", "no token \"[CLS]\""});
  write("vocab.txt", "[UNK]\n[CLS]\na\n");
  expect_refused({"vocab.txt", "no token \"[SEP]\""});
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nab\xC3(\n");
  expect_refused({"vocab.txt:4:", "invalid UTF-8 at byte 3", "expected UTF-8"});
  write("vocab.txt", std::string("[UNK]\n[C\0LS]\n", 13));
  expect_refused({"vocab.txt:2:", "NUL"});
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n" + std::string(10 << 20, 'a') + "\n");
  expect_refused({"vocab.txt:4:", "10485760 bytes", "at most 65536"});
}

TEST_F(TokenizerFilesTest, VocabularyThatIsNoFile) {
  fs::create_directory(path("vocab.txt"));
  expect_refused({"vocab.txt", "directory"});
  fs::remove(path("vocab.txt"));
  ASSERT_EQ(mkfifo(path("vocab.txt").c_str(), 0600), 0);
  expect_refused({"vocab.txt"});  // and does not wait for a writer
  fs::remove(path("vocab.txt"));
  fs::create_symlink("/dev/zero", path("vocab.txt"));
  expect_refused({"vocab.txt"});
}

TEST_F(TokenizerFilesTest, ConfigDecides) {
  write_vocabulary(small_vocabulary({"É", "é", "中a", "A"}));
  write("tokenizer_config.json", R"({"do_lower_case": false, "tokenize_chinese_chars": false, "strip_accents": null,
      "model_max_length": 512, "tokenizer_class": "BertTokenizerFast", "unknown_key": [1]})");
  EXPECT_EQ(tokens_of(load(), "É 中a"), (std::vector<std::string>{"É", "中a"}));
  EXPECT_EQ(load().model_max_length(), 512);
  write("tokenizer_config.json", R"({"do_lower_case": true, "strip_accents": false, "model_max_length": 1e30})");
  EXPECT_EQ(tokens_of(load(), "É"), (std::vector<std::string>{"é"}));
  EXPECT_EQ(load().model_max_length(), 0);
  fs::remove(path("tokenizer_config.json"));
  EXPECT_EQ(tokens_of(load(), "É"), (std::vector<std::string>{"e"}));
}

TEST_F(TokenizerFilesTest, BadConfigs) {
  write_vocabulary(small_vocabulary());
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {R"({"do_lower_case": "true"})", {"do_lower_case", "true"}},
      {R"({"strip_accents": 1})", {"strip_accents", "1"}},
      {R"({"tokenize_chinese_chars": []})", {"tokenize_chinese_chars"}},
      {R"({"model_max_length": "512"})", {"model_max_length", "512"}},
      {R"({"model_max_length": -1})", {"model_max_length", "-1"}},
      {R"({"tokenizer_class": "RobertaTokenizerFast"})", {"tokenizer_class", "RobertaTokenizerFast", "BertTokenizer"}},
      {R"({"unk_token": 3})", {"unk_token", "3"}},
      {R"({"unk_token": {"lstrip": false}})", {"unk_token", "content"}},
      {R"({"added_tokens_decoder": {"5x": "a"}})", {"added_tokens_decoder", "5x"}},
      {R"({"added_tokens_decoder": {"99": {"content": "<e>"}}})", {"added_tokens_decoder", "<e>", "99", "gap"}},
      {R"({"added_tokens_decoder": {"0": {"content": "<e>"}}})", {"added_tokens_decoder", "<e>", "[PAD]"}},
      {R"({"additional_special_tokens": "x"})", {"additional_special_tokens", "array"}},
      {R"({"do_lower_case": true, "do_lower_case": false})", {"do_lower_case"}},
      {"[]", {"object"}},
      {"{", {}},
      {"", {}},
      {std::string(100000, '['), {}}};
  for (auto [text, parts] : cases) {
    write("tokenizer_config.json", text);
    parts.push_back("tokenizer_config.json");
    SCOPED_TRACE(text.substr(0, 100));
    expect_refused(parts);
  }
  write("tokenizer_config.json", R"({"unk_token": "<unk>"})");
  expect_refused({"vocab.txt", "no token \"<unk>\""});
  fs::remove(path("tokenizer_config.json"));
  write("special_tokens_map.json", R"({"mask_token": false})");
  expect_refused({"special_tokens_map.json", "mask_token", "false"});
}

TEST_F(TokenizerFilesTest, AddedTokensMatchWholeInAText) {
  auto vocabulary = small_vocabulary({"<a>"});
  write_vocabulary(vocabulary);
  const int next = static_cast<int>(vocabulary.size());
  write("tokenizer_config.json", json{{"added_tokens_decoder",
                                       {{std::to_string(next), {{"content", "<User>"}, {"special", true}}},
                                        {"0", {{"content", "[PAD]"}, {"special", true}}}}}}
                                     .dump());
  write("special_tokens_map.json", R"({"extra_special_tokens": [{"content": "<a>"}], "mask_token": "[MASK]"})");
  EXPECT_EQ(load().size(), next + 1);
  EXPECT_EQ(tokens_of(load(), "x<User>y<a>[PAD]"), (std::vector<std::string>{"x", "<User>", "y", "<a>", "[PAD]"}));
  load().save(directory_.path());
  EXPECT_EQ(tokens_of(load(), "x<User>y<a>[PAD]"), (std::vector<std::string>{"x", "<User>", "y", "<a>", "[PAD]"}));
}

TEST_F(TokenizerFilesTest, TokenizerJsonAlone) {
  const auto vocabulary = small_vocabulary({"Hi"});
  write("tokenizer.json", tokenizer_json(small_vocabulary()).dump());
  EXPECT_EQ(load().encode("ab").ids, Tokenizer(small_vocabulary()).encode("ab").ids);
  json root = tokenizer_json(vocabulary);
  root["added_tokens"].push_back({{"id", vocabulary.size()}, {"content", "<x>"}, {"special", true}});
  root["model"]["max_input_chars_per_word"] = 3;
  write("tokenizer.json", root.dump());
  EXPECT_EQ(tokens_of(load(), "Hi<x>abcd"), (std::vector<std::string>{"Hi", "<x>", "[UNK]"}));  // and is cased
}

TEST_F(TokenizerFilesTest, BadTokenizerJson) {
  const auto vocabulary = small_vocabulary();
  const auto expect_with = [&](const char* pointer, const json& value, std::vector<std::string> parts) {
    json root = tokenizer_json(vocabulary);
    root[json::json_pointer(pointer)] = value;
    write("tokenizer.json", root.dump());
    parts.push_back("tokenizer.json");
    SCOPED_TRACE(pointer);
    expect_refused(parts);
  };
  expect_with("/model/type", "BPE", {"model.type", "\"BPE\"", "\"WordPiece\""});
  expect_with("/model", nullptr, {"model", "null"});
  expect_with("/model/vocab", json::array(), {"vocab"});
  expect_with("/model/vocab/a", 1000, {"\"a\"", "1000", "gap"});
  expect_with("/model/vocab/a", 0, {"is also that of", "[PAD]"});
  expect_with("/model/vocab/a", -1, {"\"a\"", "-1"});
  expect_with("/model/vocab/a", "x", {"\"a\""});
  expect_with("/model/vocab/a", 1.5, {"\"a\"", "1.5"});
  expect_with("/model/continuing_subword_prefix", "@@", {"continuing_subword_prefix", "@@"});
  expect_with("/model/max_input_chars_per_word", 0, {"max_input_chars_per_word", "0"});
  expect_with("/normalizer", {{"type", "Lowercase"}}, {"normalizer.type", "Lowercase", "BertNormalizer"});
  expect_with("/normalizer/clean_text", false, {"clean_text", "false"});
  expect_with("/normalizer/lowercase", "no", {"lowercase", "no"});
  expect_with("/pre_tokenizer", {{"type", "Whitespace"}}, {"pre_tokenizer.type", "Whitespace"});
  expect_with("/added_tokens/0/id", 3, {"added_tokens", "[MASK]", "[SEP]"});
  expect_with("/added_tokens/0/id", 900, {"added_tokens", "900", "gap"});
  expect_with("/added_tokens", 5, {"added_tokens"});
}

TEST_F(TokenizerFilesTest, TokenizerJsonMustAgreeWithVocabulary) {
  write_vocabulary(small_vocabulary());
  write("tokenizer.json", tokenizer_json(small_vocabulary()).dump());
  EXPECT_EQ(load().size(), static_cast<int>(small_vocabulary().size()));
  auto swapped = small_vocabulary();
  std::swap(swapped[5], swapped[7]);
  write("tokenizer.json", tokenizer_json(swapped).dump());
  expect_refused({"tokenizer.json", "vocab.txt", "expected both files to agree"});
  write("tokenizer.json", tokenizer_json(small_vocabulary({"more"})).dump());
  expect_refused({"tokenizer.json", "expected both files to agree"});
}

TEST_F(TokenizerFilesTest, SavedLoadsTheSame) {
  TokenizerOptions options;
  options.lowercase = false;
  options.strip_accents = true;
  options.chinese_chars = false;
  options.model_max_length = 128;
  options.special.pad = "<pad>";
  options.additional_special_tokens = {"<x>"};
  const Tokenizer tokenizer(small_vocabulary({"<pad>", "<x>", "E", "中中"}), options);
  tokenizer.save(directory_.path());
  const Tokenizer loaded = load();
  EXPECT_EQ(loaded.size(), tokenizer.size());
  EXPECT_EQ(loaded.pad_id(), 5);
  EXPECT_EQ(loaded.model_max_length(), 128);
  EXPECT_TRUE(loaded.warnings().empty());
  const char* text = "É 中中 a<x>b[MASK]<pad>";
  EXPECT_EQ(tokens_of(loaded, text), (std::vector<std::string>{"E", "中中", "a", "<x>", "b", "[MASK]", "<pad>"}));
  EXPECT_EQ(loaded.encode(text).ids, tokenizer.encode(text).ids);
  EXPECT_THROW(Tokenizer(small_vocabulary({"a\nb"})).save(directory_.path()), Error);
  EXPECT_THROW(tokenizer.save(path("absent")), Error);
}

TEST_F(TokenizerFilesTest, HangulAndAnUncasedVocabulary) {
  write_vocabulary(small_vocabulary({"한국", "##어"}));
  expect_warning("2 tokens hold Hangul syllables");
  const Tokenizer uncased(small_vocabulary());
  uncased.encode("plain é");
  EXPECT_TRUE(uncased.warnings().empty());
  uncased.encode("한국");
  ASSERT_EQ(uncased.warnings().size(), 1u);
  EXPECT_NE(uncased.warnings()[0].find("Hangul"), std::string::npos);
  write("tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_EQ(tokens_of(load(), "한국어"), (std::vector<std::string>{"한국", "##어"}));
  EXPECT_TRUE(load().warnings().empty());
}

TEST(TokenizerConstruction, RefusesWhatCannotWork) {
  EXPECT_THROW(Tokenizer(std::vector<std::string>{}), Error);
  EXPECT_THROW(Tokenizer(std::vector<std::string>{"[UNK]", "[CLS]", "[SEP]", "\xFF"}), Error);
  TokenizerOptions options;
  options.max_word_chars = -1;
  EXPECT_THROW(Tokenizer(small_vocabulary(), options), Error);
}

}  // namespace
}  // namespace bertx
