// Every way in which a safetensors file can be wrong ends in an error that says what is wrong.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <limits>

#include "bertx/safetensors.h"
#include "io_support.h"

namespace bertx::test {
namespace {

struct BadFile {
  std::string name;
  std::string bytes;
  std::vector<std::string> words;  ///< the field, what was found, what was expected

  friend void PrintTo(const BadFile& file, std::ostream* out) { *out << file.name; }
};

std::string tensor(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return "{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":" + std::string(offsets) + "}";
}

/// One tensor "w", which is right where the arguments are.
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t data_bytes) {
  return safetensors_bytes("{\"w\":" + tensor(dtype, shape, offsets) + "}", data_bytes);
}

std::string two(std::string_view first, std::string_view second, std::size_t data_bytes) {
  return safetensors_bytes("{\"a\":" + tensor("U8", "[4]", first) + ",\"b\":" + tensor("U8", "[4]", second) + "}",
                           data_bytes);
}

std::string named(std::string_view json_name) {
  return safetensors_bytes("{\"" + std::string(json_name) + "\":" + tensor("U8", "[4]", "[0,4]") + "}", 4);
}

std::string many_on_one_range() {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) {
    header += (i ? ",\"t" : "\"t") + std::to_string(i) + "\":" + tensor("F32", "[1]", "[0,4]");
  }
  return safetensors_bytes(header + "}", 4);
}

std::string rank_1000() {
  std::string shape = "[1";
  for (int i = 1; i < 1000; ++i) shape += ",1";
  return one("F32", shape + "]", "[0,4]", 4);
}

std::vector<BadFile> bad_files() {
  const std::string right = one("F32", "[2,2]", "[0,16]", 16);
  return {
      {"Empty", "", {"0 bytes", "at least 10"}},
      {"SevenBytes", "1234567", {"7 bytes", "at least 10"}},
      {"LengthOnly", length_bytes(2), {"header length", "found 2"}},
      {"LengthZero", length_bytes(0) + "{}", {"header length: found 0", "expected 2 to 2"}},
      {"LengthBehindFile", length_bytes(1000) + "{}", {"header length: found 1000", "expected 2 to 2"}},
      {"LengthAllOnes", length_bytes(~std::uint64_t{0}) + "{}", {"header length: found 18446744073709551615"}},
      {"LengthTooLong", length_bytes(100'000'001) + "{}", {"header length: found 100000001"}},
      {"NotUtf8", safetensors_bytes("{\"\xFF\xFE\":1}"), {"header: byte", "UTF-8", "\\xff"}},
      {"OnlyABrace", safetensors_bytes("{ "), {"header: byte", "end of input"}},
      {"OnlyBlanks", safetensors_bytes("     "), {"only blanks", "expected {"}},
      {"ArrayRoot", safetensors_bytes("[1,2]"), {"header: found \"[1,2]\"", "expected {"}},
      {"Behind", safetensors_bytes("{}{}"), {"header: byte", "end of input"}},
      {"ByteOrderMark", safetensors_bytes("\xEF\xBB\xBF{}"), {"header", "expected {"}},
      {"DeepArrays", safetensors_bytes("{\"w\":" + std::string(100'000, '[')), {"tensor \"w\"", "an array"}},
      {"DeepShape", safetensors_bytes("{\"w\":{\"shape\":" + std::string(100'000, '[')), {"shape", "an array"}},
      {"DeepObjects",
       safetensors_bytes([] {
         std::string text = "{";
         for (int i = 0; i < 100'000; ++i) text += "\"a\":{";
         return text;
       }()),
       {"tensor \"a\"", "key \"a\""}},
      {"NulBehindTheObject", safetensors_bytes(std::string("{}\0junk", 7)), {"header: byte 2", "a NUL byte"}},
      {"DuplicateTensor",
       safetensors_bytes("{\"w\":" + tensor("U8", "[4]", "[0,4]") + ",\"w\":" + tensor("U8", "[4]", "[4,8]") + "}", 8),
       {"tensor \"w\"", "found twice"}},
      {"DuplicateDtype",
       safetensors_bytes(R"({"w":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}})", 4),
       {"tensor \"w\": dtype", "found twice"}},
      {"UnknownDtype", one("F33", "[2,2]", "[0,16]", 16), {"tensor \"w\": dtype: found \"F33\"", "F32", "BOOL"}},
      {"DtypeNumber",
       safetensors_bytes(R"({"w":{"dtype":7,"shape":[4],"data_offsets":[0,4]}})", 4),
       {"tensor \"w\": dtype: found 7", "a string"}},
      {"MissingDtype",
       safetensors_bytes(R"({"w":{"shape":[4],"data_offsets":[0,4]}})", 4),
       {"\"w\": dtype", "nothing"}},
      {"MissingShape",
       safetensors_bytes(R"({"w":{"dtype":"U8","data_offsets":[0,4]}})", 4),
       {"\"w\": shape", "nothing"}},
      {"MissingOffsets", safetensors_bytes(R"({"w":{"dtype":"U8","shape":[4]}})", 4), {"data_offsets", "nothing"}},
      {"UnknownKey",
       safetensors_bytes(R"({"w":{"dtype":"U8","shape":[4],"stride":[1],"data_offsets":[0,4]}})", 4),
       {"tensor \"w\"", "\"stride\""}},
      {"TensorIsNumber", safetensors_bytes(R"({"w":3})"), {"tensor \"w\": found 3", "an object"}},
      {"NegativeOffset", one("U8", "[4]", "[-4,0]", 4), {"data_offsets: found -4", "integers from 0"}},
      {"FractionalOffset", one("U8", "[4]", "[0.5,4]", 4), {"data_offsets: found \"0.5\"", "integers from 0"}},
      {"OffsetString", one("U8", "[4]", "[\"0\",4]", 4), {"data_offsets: found \"0\"", "integers from 0"}},
      {"OffsetBeyond64Bits", one("U8", "[4]", "[0,18446744073709551616]", 4), {"data_offsets", "integers from 0"}},
      {"NegativeDimension", one("U8", "[-4]", "[0,4]", 4), {"shape: found -4", "integers from 0"}},
      {"ShapeNull", one("U8", "null", "[0,4]", 4), {"shape: found null", "an array"}},
      {"EndBeforeBegin", one("U8", "[4]", "[4,0]", 4), {"data_offsets: found [4, 0]", "not before the begin"}},
      {"Overlap", two("[0,4]", "[2,6]", 6), {"tensor \"b\"", "found [2, 6]", "overlaps", "expected 4"}},
      {"Hole", two("[0,4]", "[6,10]", 10), {"tensor \"b\"", "hole of 2 bytes", "expected 4"}},
      {"HoleAtTheBegin", one("U8", "[4]", "[2,6]", 6), {"hole of 2 bytes", "expected 0"}},
      {"TrailingBytes", right + "xy", {"2 bytes behind the last tensor", "expected 0"}},
      {"TwoBytesMissing", right.substr(0, right.size() - 2), {"found [0, 16]", "expected at most 14", "truncated"}},
      {"ShapeOverflow", one("F32", "[2,18446744073709551614]", "[0,4]", 4), {"shape: found 18446744073709551614"}},
      {"BytesOverflow",
       one("F32", "[2305843009213693952]", "[0,0]", 0),
       {"shape: found [2305843009213693952]", "overflow"}},
      {"ProductWrapsToFour", one("U8", "[4294967297,4294967296,4]", "[0,4]", 4), {"shape", "overflow"}},
      {"ZeroTimesHuge", one("F32", "[0,9223372036854775807,16]", "[0,0]", 0), {"shape", "overflow"}},
      {"HugeTimesZero", one("F32", "[9223372036854775807,16,0]", "[0,0]", 0), {"shape", "overflow"}},
      {"Rank1000", rank_1000(), {"shape", "more than 32 dimensions"}},
      {"ShapeIsNotBytes", one("F32", "[2,3]", "[0,16]", 16), {"16 bytes", "expected 24", "[2, 3] of F32"}},
      {"OneOffset", one("U8", "[4]", "[0]", 4), {"data_offsets: found 1 numbers", "[begin, end]"}},
      {"ThreeOffsets", one("U8", "[4]", "[0,4,8]", 4), {"data_offsets: found more than 2", "[begin, end]"}},
      {"ManyTensorsOnOneRange", many_on_one_range(), {"overlaps", "found [0, 4]"}},
      {"MetadataNumber", safetensors_bytes(R"({"__metadata__":{"epoch":3}})"), {"__metadata__: \"epoch\": found 3"}},
      {"MetadataNull", safetensors_bytes(R"({"__metadata__":{"epoch":null}})"), {"\"epoch\": found null", "a string"}},
      {"MetadataObject", safetensors_bytes(R"({"__metadata__":{"a":{"b":"c"}}})"), {"__metadata__", "an object"}},
      {"MetadataArray", safetensors_bytes(R"({"__metadata__":["a"]})"), {"__metadata__", "an array"}},
      {"MetadataTwice", safetensors_bytes(R"({"__metadata__":{},"__metadata__":{}})"), {"__metadata__: found twice"}},
      {"MetadataKeyTwice", safetensors_bytes(R"({"__metadata__":{"a":"1","a":"2"}})"), {"__metadata__", "twice"}},
      {"NameWithNul", named("a\\u0000b"), {"tensor name: found \"a\\x00b\"", "control"}},
      {"NameWithNewline", named("a\\nb"), {"tensor name: found \"a\\x0ab\"", "control"}},
      {"NameWithEscape", named("\\u001b[31mred"), {"tensor name: found \"\\x1b[31mred\"", "control"}},
      {"NameWithC1Control", named("a\\u009b31m"), {"tensor name", "\\xc2\\x9b"}},
      {"NameEmpty", named(""), {"tensor name: found \"\""}},
  };
}

class SafetensorsBad : public testing::TestWithParam<BadFile> {};

TEST_P(SafetensorsBad, IsRefusedByName) {
  const TempDir directory;
  const fs::path path = directory / "bad.safetensors";
  write_bytes(path, GetParam().bytes);
  for (const Access access : {Access::map, Access::read}) {
    std::vector<std::string> words = GetParam().words;
    words.push_back("bad.safetensors: ");
    expect_bad_input(words, [&] { SafetensorsFile::open(path, access); });
  }
}

INSTANTIATE_TEST_SUITE_P(Files, SafetensorsBad, testing::ValuesIn(bad_files()),
                         [](const auto& test) { return test.param.name; });

TEST(SafetensorsBadFile, HeaderLongerThanTheLimitInAFileThatHasIt) {
  const TempDir directory;
  const fs::path path = directory / "long.safetensors";
  write_bytes(path, length_bytes(100'000'001) + "{");
  fs::resize_file(path, 100'000'009);  // sparse: takes no disk
  expect_bad_input({"long.safetensors", "found 100000001", "expected 2 to 100000000"},
                   [&] { SafetensorsFile::open(path); });
}

TEST(SafetensorsBadFile, IsNotARegularFile) {
  const TempDir directory;
  expect_bad_input({directory.path(), "a directory", "a regular file"},
                   [&] { SafetensorsFile::open(directory.path()); });
  const fs::path fifo = directory / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_bad_input({"fifo", "a FIFO", "a regular file"}, [&] { SafetensorsFile::open(fifo); });
  expect_bad_input({"/dev/zero", "a character device"}, [&] { SafetensorsFile::open("/dev/zero"); });
  expect_error(ErrorKind::io, {"absent", "No such file"}, [&] { SafetensorsFile::open(directory / "absent"); });
}

TEST(SafetensorsBadFile, WeightsThatAreNotFinite) {
  const TempDir directory;
  const fs::path path = directory / "w.safetensors";
  std::vector<float> values(10'000, 1.0f);
  const auto check = [&](float bad) {
    values[7777] = bad;
    const std::vector<TensorToWrite> tensors{{"layer.weight", ElementType::f32, {100, 100}, values.data()}};
    write_safetensors(path, tensors);
    const SafetensorsFile file = SafetensorsFile::open(path);
    require_finite(*file.find("layer.weight"), path);
  };
  check(std::numeric_limits<float>::max());
  const std::vector<std::string> words{"w.safetensors", "\"layer.weight\"", "element 7777", "[100, 100]"};
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    expect_bad_input(words, [&] { check(bad); });
  }

  const std::uint16_t halves[] = {0x3C00, 0x7C00};  // 1 and infinity as F16; the same bits are finite BF16
  TensorEntry entry{"h", ElementType::f16, {2}, const_cast<std::uint16_t*>(halves), 4};
  expect_bad_input({"\"h\"", "element 1"}, [&] { require_finite(entry, path); });
  entry.type = ElementType::bf16;
  EXPECT_NO_THROW(require_finite(entry, path));
}

TEST(SafetensorsBadFile, TruncatedWhileMapped) {
  const TempDir directory;
  const fs::path path = directory / "cut.safetensors";
  write_bytes(path, one("U8", "[65536]", "[0,65536]", 65536));
  const SafetensorsFile mapped = SafetensorsFile::open(path);
  const SafetensorsFile read = SafetensorsFile::open(path, Access::read);
  EXPECT_NO_THROW(mapped.check_unchanged());
  fs::resize_file(path, 100);
  expect_bad_input({"cut.safetensors", "found 100 bytes"}, [&] { mapped.check_unchanged(); });
  // What was read is there still.
  const TensorEntry* entry = read.find("w");
  EXPECT_EQ(static_cast<const char*>(entry->data)[65535], 0);
}

TEST(SafetensorsBadFileDeathTest, TheGuardNamesTheFileThatLostItsPages) {
  const TempDir directory;
  const fs::path path = directory / "cut.safetensors";
  EXPECT_EXIT(
      {
        write_bytes(path, one("U8", "[65536]", "[0,65536]", 65536));
        install_mapping_guard();
        const SafetensorsFile file = SafetensorsFile::open(path);
        fs::resize_file(path, 100);
        const volatile char* data = static_cast<const char*>(file.find("w")->data);
        std::exit(data[65000]);
      },
      testing::ExitedWithCode(4), "cut.safetensors: found a file that became shorter .* expected 6");
}

}  // namespace
}  // namespace bertx::test
