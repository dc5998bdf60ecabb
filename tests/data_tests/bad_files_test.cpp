// Files that are wrong in one way each: what is refused says where and why; what is taken is taken as documented.
#include <sys/stat.h>

#include "files.h"

namespace bertx::test {
namespace {

using namespace std::string_view_literals;
using Names = std::vector<std::string>;

class BadFile : public OwnFile {
 protected:
  void refuse(const std::string& name, std::string_view bytes, std::initializer_list<std::string_view> parts,
              const Columns& columns = {}, Split split = Split::train) {
    expect_error(ErrorKind::bad_input, parts, [&] { load(name, bytes, split, nullptr, columns); });
  }
};

TEST_F(BadFile, StrayQuotes) {
  refuse("a.csv", "label,text\nx,\"one\" two\n", {"a.csv:2", "byte 8", "field 2", " two", "comma"});
  refuse("a.csv", "label,text\nx,\"never closed\ny,b\n", {"a.csv:2", "byte 3", "never closed"});
  refuse("a.csv", "label,text\nx,\"a\ny,\"b\n", {"a.csv:3", "after a closing quote"});
}

TEST_F(BadFile, MissingColumns) {
  refuse("a.csv", "text,stars\na,1\n", {"a.csv:1", "\"text\", \"stars\"", "\"label\"", "--label_column"});
  refuse("a.tsv", "text\tlabel\na\t1\n", {"a.tsv:1", "\"body\"", "--text_column"}, {"body", "", ""});
  refuse("a.csv", "text,label\na,1\n", {"a.csv:1", "\"other\"", "--text_pair_column"}, {"", "other", ""});
  refuse("a.csv", "label,id\n1,2\n", {"a.csv:1", "with a text"});
  refuse("a.csv", "text,label,text\na,1,b\n", {"a.csv:1", "\"text\" twice"});
  refuse("a.jsonl", "{\"text\":\"a\"}\n", {"a.jsonl:1", "\"label\""});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\"}\n", {"a.jsonl:2", "no key \"label\""});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"label\":2}\n", {"a.jsonl:2", "no key \"text\""});
}

TEST_F(BadFile, RowsOfAnotherWidth) {
  refuse("a.tsv", "text\tlabel\na\tb\t1\n", {"a.tsv:2", "more than 2", "expected 2", "tab"});
  refuse("a.csv", "text,label\na, b,1\n", {"a.csv:2", "more than 2", "expected 2", "comma"});
  refuse("a.tsv", "text\tlabel\na\n", {"a.tsv:2", "found 1", "expected 2"});
}

TEST_F(BadFile, LabelsThatAreNone) {
  refuse("a.csv", "text,label\na,x\nb,nan\n", {"a.csv:3", "\"label\"", "\"nan\"", "expected a label"});
  refuse("a.csv", "text,label\na,1.5\nb,NaN\n", {"a.csv:3", "NaN"});
  refuse("a.csv", "text,label\na,x\nb,\n", {"a.csv:3", "\"label\"", "found nothing"});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":null}\n", {"a.jsonl:1", "found nothing"});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":NaN}\n", {"a.jsonl:1", "byte"});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":{}}\n", {"a.jsonl:1", "\"label\"", "an object"});
  refuse("a.csv", "text,label\na,\n", {"a.csv:2", "found nothing"}, {}, Split::validation);
  refuse("a.csv", "text,label\na,x\nb,\n", {"a.csv:3", "found nothing"}, {}, Split::test);
}

TEST_F(BadFile, NumbersAmongWhichOneIsNone) {
  refuse("a.csv", "text,label\na,1.5\nb,\"2,5\"\n", {"a.csv:3", "\"2,5\"", "finite number", "\"1.5\" in line 2"});
  refuse("a.csv", "text,label\na,1.5\nb,inf\n", {"a.csv:3", "\"inf\"", "finite number"});
  refuse("a.csv", "text,label\na,1.5\nb,1e999\n", {"a.csv:3", "\"1e999\"", "finite number"});
  refuse("a.csv", "text,label\na,1.5\nb,1e39\n", {"a.csv:3", "\"1e39\"", "finite number"});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":1e999}\n", {"a.jsonl:1", "byte"});
}

TEST_F(BadFile, ArraysThatDoNotFit) {
  const auto rows = [](std::string a, std::string b) {
    return "{\"text\":\"a\",\"label\":" + a + "}\n{\"text\":\"b\",\"label\":" + b + "}\n";
  };
  refuse("a.jsonl", rows("[0,1]", "[0,1,1]"), {"a.jsonl:2", "found 3", "expected 2", "line 1"});
  refuse("a.jsonl", rows("[0,1]", "[0,2]"), {"a.jsonl:2", "found 2", "0 or 1"});
  refuse("a.jsonl", rows("[\"x\"]", "[0,1]"), {"a.jsonl:2", "array of 0 and 1", "array of names"});
  refuse("a.jsonl", rows("[\"x\"]", "\"x\""), {"a.jsonl:2", "a single value", "array of names"});
  refuse("a.jsonl", rows("[\"x\"]", "[\"x\", 1]"), {"a.jsonl:2", "a number", "names"});
  refuse("a.jsonl", rows("[\"x\"]", "[[\"x\"]]"), {"a.jsonl:2", "nested"});
  refuse("a.jsonl", rows("[\"x\"]", "[\" \"]"), {"a.jsonl:2", "empty name"});
  refuse("a.jsonl", rows("[]", "[]"), {"a.jsonl:1", "no label in any row"});
}

TEST_F(BadFile, LabelsTheTrainingSetLacks) {
  const Dataset train = load("t.csv", "label,text\nb,1\na,2\n");
  const auto refused = [&](std::string_view bytes, std::initializer_list<std::string_view> parts) {
    expect_error(ErrorKind::bad_input, parts, [&] { load("v.csv", bytes, Split::validation, &train); });
  };
  refused("label,text\na,1\nc,2\n", {"v.csv:3", "field \"label\"", "\"c\"", "\"a\", \"b\""});
  const Dataset scores = load("t.csv", "label,text\n1.5,1\n2,2\n");
  expect_error(ErrorKind::bad_input, {"v.csv:2", "\"high\"", "finite number"},
               [&] { load("v.csv", "label,text\nhigh,1\n", Split::validation, &scores); });
}

TEST_F(BadFile, OneClass) {
  refuse("a.csv", "text,label\na,x\nb,x\n", {"a.csv:2", "\"x\" in all 2 rows", "at least two"});
  const Dataset dev = load("a.csv", "text,label\na,x\nb,x\n", Split::validation);
  ASSERT_EQ(dev.warnings.size(), 1u);
  EXPECT_NE(dev.warnings[0].find("every example has the label \"x\""), std::string::npos) << dev.warnings[0];
}

TEST_F(BadFile, ByteOrderMarksAndOtherEncodings) {
  EXPECT_EQ(texts_of(load("a.csv", "\xef\xbb\xbftext,label\na,x\nb,y\n")), (Names{"a", "b"}));
  EXPECT_EQ(texts_of(load("a.jsonl", "\xef\xbb\xbf{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":2}\n")),
            (Names{"a", "b"}));
  refuse("a.csv", "\xff\xfet\0e\0x\0t\0"sv, {"a.csv:1", "UTF-16", "expected UTF-8"});
  refuse("a.csv", "\xfe\xff\0t\0e\0x\0t"sv, {"a.csv:1", "UTF-16", "expected UTF-8"});
  refuse("a.csv", "t\0e\0x\0t\0,\0l\0a\0b\0e\0l\0\n\0"sv, {"a.csv:1", "UTF-16", "expected UTF-8"});
  refuse("a.csv", "text,label\na,x\nb\xe9,y\n", {"a.csv:3", "byte 2", "0xe9", "UTF-8"});  // Latin-1
}

TEST_F(BadFile, MalformedUtf8AndNul) {
  refuse("a.tsv", "text\tlabel\na\tx\nb\0c\ty\n"sv, {"a.tsv:3", "byte 2", "NUL"});
  refuse("a.tsv", "text\tlabel\n\xc0\xaf\tx\n", {"a.tsv:2", "byte 1", "0xc0", "overlong"});
  refuse("a.tsv", "text\tlabel\nab\xe0\x80\xaf\tx\n", {"a.tsv:2", "byte 3", "0xe0"});
  refuse("a.tsv", "text\tlabel\n\xed\xa0\x80\tx\n", {"a.tsv:2", "0xed"});  // a surrogate
  refuse("a.tsv", "text\tlabel\n\xf4\x90\x80\x80\tx\n", {"a.tsv:2", "0xf4"});
  refuse("a.tsv", "text\tlabel\na\tx\xe2\x82", {"a.tsv:2", "0xe2"});  // cut off
  EXPECT_EQ(texts_of(load("a.tsv", "text\tlabel\n\xf0\x9f\x98\x80\xed\x9f\xbf\tx\nb\ty\n"))[0],
            "\xf0\x9f\x98\x80\xed\x9f\xbf");
}

TEST_F(BadFile, LongLines) {
  const std::string head = "text\tlabel\na\tx\n";
  refuse("a.tsv", head + std::string((16u << 20) + 1, 'a'), {"a.tsv:3", "16777216"});
  refuse("a.csv", "text,label\n\"" + std::string(9u << 20, 'a') + "\n" + std::string(9u << 20, 'a') + "\",x\n",
         {"a.csv:2", "byte 1", "16777216", "quote closed"});
  const Dataset long_text = load("a.tsv", head + std::string(1u << 20, 'b') + "\ty\n");  // more than one buffer
  EXPECT_EQ(long_text.examples[1].text_a, std::string(1u << 20, 'b'));
}

// 1 GB without a line break that takes no space on the disk.
TEST_F(BadFile, AGigabyteInOneLineIsRefusedBeforeItIsRead) {
  const auto path = write("a.tsv", "text\tlabel\n");
  std::filesystem::resize_file(path, 1u << 30);
  expect_error(ErrorKind::bad_input, {"a.tsv:2", "16777216"}, [&] { load_file(path, {}, Split::train); });
}

TEST_F(BadFile, TooManyColumnsAndEntries) {
  refuse("a.csv", std::string(5000, ','), {"a.csv:1", "4096"});
  std::string object = "{\"text\":\"a\"";
  for (int i = 0; i < 5000; ++i) object += ",\"" + std::to_string(i) + "\":0";
  refuse("a.jsonl", object + "}\n", {"a.jsonl:1", "4096"});
  std::string array = "{\"text\":\"a\",\"label\":[0";
  for (int i = 0; i < 70000; ++i) array += ",0";
  refuse("a.jsonl", array + "]}\n", {"a.jsonl:1", "\"label\"", "65536"});
}

TEST_F(BadFile, EmptyAndControlTextsAreKept) {
  const Dataset data = load("a.tsv", "text\tlabel\n\tx\n\x01\x02\x1b\ty\n \tx\nreal\ty\n");
  EXPECT_EQ(texts_of(data), (Names{"", "\x01\x02\x1b", " ", "real"}));
  ASSERT_EQ(data.warnings.size(), 1u);
  EXPECT_NE(data.warnings[0].find("a.tsv:2: 3 example(s)"), std::string::npos) << data.warnings[0];
}

TEST_F(BadFile, MessagesShowNoControlCharacters) {
  expect_error(ErrorKind::bad_input, {"a.csv:1"}, [&] { load("a.csv", "te\x1b[2Jxt,y\n1,2\n"); });
  try {
    load("a.csv", "te\x1b[2Jxt,y\n1,2\n");
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\x1b'), std::string::npos);
  }
}

TEST_F(BadFile, EqualIdsAreSeparateExamples) {
  EXPECT_EQ(texts_of(load("a.csv", "id,text,label\n7,a,x\n7,b,y\n7,a,x\n")), (Names{"a", "b", "a"}));
}

TEST_F(BadFile, BlankLinesAreSkipped) {
  const Dataset data = load("a.csv", "\ntext,label\n\na,x\n\r\n  \nb,y\n\n");
  EXPECT_EQ(texts_of(data), (Names{"a", "b"}));
  EXPECT_EQ(data.examples[1].line, 7);
}

TEST_F(BadFile, BrokenJson) {
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\n", {"a.jsonl:2", "byte", "JSON object"});
  refuse("a.jsonl", "[{\"text\":\"a\"}]\n", {"a.jsonl:1", "array", "one object a line"});
  refuse("a.jsonl", "3\n", {"a.jsonl:1", "a number", "object"});
  refuse("a.jsonl", "{} {}\n", {"a.jsonl:1", "byte"});
  refuse("a.jsonl", "{\"text\":\"a\",\"text\":\"b\"}\n", {"a.jsonl:1", "\"text\" twice"});
  refuse("a.jsonl", "{\"text\":\"\\ud800\",\"label\":1}\n", {"a.jsonl:1", "byte"});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":3,\"label\":1}\n",
         {"a.jsonl:2", "\"text\"", "a number", "a string"});
  refuse("a.jsonl", std::string(100000, '['), {"a.jsonl:1"});
  refuse("a.jsonl", "{\"text\":\"a\",\"label\":1,\"x\":" + std::string(1000000, '['), {"a.jsonl:1", "byte"});
}

TEST_F(BadFile, NothingInIt) {
  refuse("a.csv", "", {"a.csv", "column names"});
  refuse("a.tsv", "text\tlabel\n", {"a.tsv", "no rows"});
  refuse("a.jsonl", "\n\n", {"a.jsonl", "JSON object"});
}

TEST_F(BadFile, FilesThatAreNone) {
  refuse("a.xlsx", "x", {"a.xlsx", "\".xlsx\"", ".csv", ".jsonl"});
  expect_error(ErrorKind::io, {"absent.csv"}, [&] { load_file(directory_ / "absent.csv", {}, Split::train); });
  std::filesystem::create_directory(directory_ / "d.csv");
  expect_error(ErrorKind::bad_input, {"d.csv", "directory", "regular file"},
               [&] { load_file(directory_ / "d.csv", {}, Split::train); });
  ASSERT_EQ(mkfifo((directory_ / "f.csv").c_str(), 0600), 0);
  expect_error(ErrorKind::bad_input, {"f.csv", "regular file"},
               [&] { load_file(directory_ / "f.csv", {}, Split::train); });
  std::filesystem::create_symlink("/dev/zero", directory_ / "z.csv");
  expect_error(ErrorKind::bad_input, {"z.csv", "regular file"},
               [&] { load_file(directory_ / "z.csv", {}, Split::train); });
}

// Any prefix and any changed byte of a good file loads or is refused; nothing else may happen.
TEST_F(BadFile, DamagedFilesNeverCrash) {
  const std::string good[] = {"label,text\npos,\"one, \"\"two\"\"\"\nneg,\"a\nb\"\npos,c\n",
                              "{\"label\":[\"a\",\"b\"],\"text\":\"x \\u00e9\"}\n{\"label\":[],\"text\":\"y\"}\n",
                              "{\"label\":1.5,\"text\":\"x\"}\n{\"label\":2,\"text\":\"y\"}\n"};
  RandomSource random(1);
  int loaded = 0, refused = 0;
  for (const std::string& bytes : good) {
    const std::string name = bytes[0] == '{' ? "a.jsonl" : "a.csv";
    for (int i = 0; i < 200; ++i) {
      std::string changed = bytes;
      for (int k = 0; k < 2; ++k) {
        changed[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(changed.size()) - 1))] =
            random.chance(0.5) ? static_cast<char>(random.integer(0, 255)) : "\"\n,[]{}:|0"[random.integer(0, 9)];
      }
      if (i % 4 == 0)
        changed.resize(static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(bytes.size()))));
      try {
        load(name, changed);
        ++loaded;
      } catch (const Error& error) {
        EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::bad_input)) << error.what();
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(loaded, 20);
  EXPECT_GT(refused, 200);
}

}  // namespace
}  // namespace bertx::test
