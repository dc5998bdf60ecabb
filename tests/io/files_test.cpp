// Text files, numbers as text, strict JSON, and the Hub cache.
#include "bertx/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <limits>

#include "io/json.h"
#include "io_support.h"

namespace bertx::test {
namespace {

// ---- text files ---------------------------------------------------------------------------------------------------

TEST(TextFile, RegularFilesUpToTheLimit) {
  const TempDir directory;
  const fs::path path = directory / "a.txt";
  for (const std::string& text : {std::string(), std::string("abc"), std::string(10'000, 'x') + std::string(1, '\0')}) {
    write_text_file(path, text);
    EXPECT_EQ(read_text_file(path, 20'000), text);
  }
  EXPECT_EQ(read_text_file(path, 10'001).size(), 10'001u);
  expect_bad_input({"a.txt", "10001 bytes", "at most 10000"}, [&] { read_text_file(path, 10'000); });
  EXPECT_FALSE(read_text_file("/proc/self/status", 1 << 20).empty());  // says it has 0 bytes
  expect_error(ErrorKind::io, {"none.txt", "No such file"}, [&] { read_text_file(directory / "none.txt", 10); });
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"a.txt"});
}

TEST(TextFile, OtherThanRegular) {
  const TempDir directory;
  const fs::path fifo = directory / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_bad_input({"fifo", "a FIFO"}, [&] { read_text_file(fifo, 10); });
  expect_bad_input({"a directory"}, [&] { read_text_file(directory.path(), 10); });
  expect_bad_input({"/dev/zero", "a character device"}, [&] { read_text_file("/dev/zero", 10); });
  expect_error(ErrorKind::io, {"fifo", "a FIFO"}, [&] { write_text_file(fifo, "x"); });
}

TEST(TextFile, Encodings) {
  using namespace std::string_view_literals;
  EXPECT_EQ(detect_encoding(""), TextEncoding::utf8);
  EXPECT_EQ(detect_encoding("abc"), TextEncoding::utf8);
  EXPECT_EQ(detect_encoding("한국어"), TextEncoding::utf8);
  EXPECT_EQ(detect_encoding("\xEF\xBB\xBFQuality"), TextEncoding::utf8_bom);
  EXPECT_EQ(detect_encoding("\xFF\xFE"
                            "a\0"sv),
            TextEncoding::utf16_le);
  EXPECT_EQ(detect_encoding("\xFE\xFF\0a"sv), TextEncoding::utf16_be);
  EXPECT_EQ(detect_encoding("\xFF\xFE\0\0a\0\0\0"sv), TextEncoding::utf32);
  EXPECT_EQ(detect_encoding("a\0b\0\n\0"sv), TextEncoding::utf16_le);
  EXPECT_EQ(detect_encoding("\0a\0b\0\n"sv), TextEncoding::utf16_be);
  EXPECT_EQ(detect_encoding("one\0two"sv), TextEncoding::utf8);
}

TEST(TextFile, UntrustedTextInMessages) {
  EXPECT_EQ(quote("abc 한 é"), "\"abc 한 é\"");
  EXPECT_EQ(quote(std::string("\x1b[31m\n\0\x7f", 8)), "\"\\x1b[31m\\x0a\\x00\\x7f\"");
  EXPECT_EQ(quote("\xC0\xAF\xED\xA0\x80\xF5"), "\"\\xc0\\xaf\\xed\\xa0\\x80\\xf5\"");
  EXPECT_EQ(quote("\xC2\x9B"), "\"\\xc2\\x9b\"");  // a one-character escape sequence to some terminals
  EXPECT_EQ(quote("aaaa", 2), "\"aa…\"");
  EXPECT_EQ(quote("한국", 4), "\"한…\"");  // not in the middle of a character
}

// ---- numbers --------------------------------------------------------------------------------------------------------

TEST(Numbers, WholeTextsOnly) {
  EXPECT_EQ(parse_double("1e-5"), 1e-5);
  EXPECT_EQ(parse_double("+0.5"), 0.5);
  EXPECT_EQ(parse_double("-3"), -3.0);
  for (const char* text :
       {"", "+", "-", "+-3", "++3", " 1", "1 ", "1x", "0x10", "1,5", "nan", "inf", "-inf", "1e999", "1e"}) {
    EXPECT_EQ(parse_double(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_int("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_int("+7"), 7);
  for (const char* text : {"", "9223372036854775808", "1.0", "1e3", "7 ", "+-7", "0x7"}) {
    EXPECT_EQ(parse_int(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_unsigned("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(parse_unsigned("-1"), std::nullopt);
}

TEST(Numbers, ShortestTextThatReadsBack) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(0.1f), "0.1");
  EXPECT_EQ(number_text(1e-12), "1e-12");
  for (const double value : {1.0 / 3, -2.5e300, 5e-324, 123456789.125})
    EXPECT_EQ(parse_double(number_text(value)), value);
}

// ---- JSON
// -------------------------------------------------------------------------------------------------------------

TEST(Json, ValuesAreAsWritten) {
  const auto json = parse_json_text(R"( {"a":[1,-2,3.5,true,null,{"b":"é\n"}],"c":{}} )", "x.json");
  EXPECT_EQ(json.dump(), R"({"a":[1,-2,3.5,true,null,{"b":"é\n"}],"c":{}})");
  EXPECT_EQ(parse_json_text("7", "x").dump(), "7");
  EXPECT_NO_THROW(parse_json_text(std::string(64, '[') + std::string(64, ']'), "x"));
}

TEST(Json, WhatIsRefused) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"{\"a\":1,\n\"b\":{\"c\":1,\"c\":2}}", {"line 2", "key \"c\"", "twice"}},
           {std::string(65, '[') + std::string(65, ']'), {"64 levels"}},
           {std::string(100'000, '['), {"64 levels"}},
           {std::string(100'000, '{'), {"malformed"}},
           {"[1,]", {"line 1, column 4"}},
           {"[1] [2]", {"line 1, column 5"}},
           {"[01]", {"malformed"}},
           {"/* a */ 1", {"malformed"}},
           {"nan", {"malformed"}},
           {"-Infinity", {"malformed"}},
           {"1e400", {"1e400"}},
           {"\"\xFF\"", {"UTF-8"}},
           {"\"a\nb\"", {"control character"}},
           {"\"\\ud800\"", {"malformed"}},
           {std::string("[1]\0", 4), {"malformed"}}}) {
    std::vector<std::string> all = words;
    all.push_back("x.json: ");
    expect_bad_input(all, [&] { parse_json_text(text, "x.json"); });
  }
}

// ---- the Hub cache
// --------------------------------------------------------------------------------------------------------

/// Sets a variable of the environment for one test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value.empty() ? ::unsetenv(name) : ::setenv(name, value.c_str(), 1);
  }
  ~Environment() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

/// A cached model as huggingface_hub lays it out; returns its snapshot.
fs::path make_cached_model(const fs::path& cache, const std::string& folder) {
  const fs::path model = cache / folder, snapshot = model / "snapshots/0123abc";
  fs::create_directories(model / "refs");
  fs::create_directories(model / "blobs");
  fs::create_directories(snapshot);
  write_bytes(model / "refs/main", "0123abc");
  write_bytes(model / "blobs/feed", "{}");
  fs::create_symlink("../../blobs/feed", snapshot / "config.json");
  return snapshot;
}

TEST(HubCache, NamesAreFoundInTheFirstPlaceThatIsSet) {
  const TempDir home;
  const Environment a("HF_HUB_CACHE", ""), b("HF_HOME", ""), c("HOME", home.path()), d("XDG_CACHE_HOME", "");
  const fs::path fallback = make_cached_model(home / ".cache/huggingface/hub", "models--org--name");
  EXPECT_EQ(resolve_model_directory("org/name"), fallback);
  EXPECT_EQ(read_text_file(resolve_model_directory("org/name") / "config.json", 10), "{}");
  const Environment e("HF_HOME", home / "hf");
  const fs::path of_home = make_cached_model(home / "hf/hub", "models--org--name");
  EXPECT_EQ(resolve_model_directory("org/name"), of_home);
  const Environment f("HF_HUB_CACHE", home / "cache");
  const fs::path of_cache = make_cached_model(home / "cache", "models--bert-base-uncased");
  EXPECT_EQ(resolve_model_directory("bert-base-uncased"), of_cache);
  expect_error(ErrorKind::io,
               {"\"org/name\"", "does not exist", (home / "cache/models--org--name").string(), "HF_HUB_CACHE"},
               [&] { resolve_model_directory("org/name"); });
}

TEST(HubCache, DirectoriesGoFirst) {
  const TempDir directory;
  EXPECT_EQ(resolve_model_directory(directory.path()), directory.path());
  write_bytes(directory / "file", "x");
  expect_bad_input({"file", "a file", "the directory of a model"},
                   [&] { resolve_model_directory(directory / "file"); });
  expect_error(ErrorKind::usage, {"empty name"}, [&] { resolve_model_directory(""); });
  for (const char* name : {"/no/such/dir", "../x", "a/b/c", "org/..", ".hidden", "a\nb"}) {
    expect_error(ErrorKind::io, {"not found", "cannot be a name on the Hub"}, [&] { resolve_model_directory(name); });
  }
}

TEST(HubCache, DamagedCaches) {
  const TempDir home;
  const Environment a("HF_HUB_CACHE", home.path());
  const fs::path snapshot = make_cached_model(home.path(), "models--org--name"), model = home / "models--org--name";
  fs::remove(snapshot / "config.json");
  expect_error(ErrorKind::io, {snapshot, "has no config.json"}, [&] { resolve_model_directory("org/name"); });
  fs::remove_all(snapshot);
  expect_error(ErrorKind::io, {snapshot, "does not exist"}, [&] { resolve_model_directory("org/name"); });
  write_bytes(model / "refs/main", "../../../../etc");
  expect_bad_input({"refs/main", "../../../../etc"}, [&] { resolve_model_directory("org/name"); });
  fs::remove(model / "refs/main");
  expect_error(ErrorKind::io, {model, "has no refs/main"}, [&] { resolve_model_directory("org/name"); });
}

}  // namespace
}  // namespace bertx::test
