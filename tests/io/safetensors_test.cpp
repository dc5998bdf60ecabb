// Right safetensors files: read as they are, written as every reader takes them.
#include "bertx/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <numeric>

#include "io_support.h"

namespace bertx::test {
namespace {

constexpr ElementType kAll[] = {ElementType::f64,    ElementType::f32, ElementType::f16, ElementType::bf16,
                                ElementType::i64,    ElementType::u64, ElementType::i32, ElementType::u32,
                                ElementType::i16,    ElementType::u16, ElementType::i8,  ElementType::u8,
                                ElementType::boolean};

TEST(Safetensors, EveryTypeComesBackTheSame) {
  const TempDir directory;
  const fs::path path = directory / "all.safetensors";
  std::vector<unsigned char> bytes(15 * 8);
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(1));
  std::vector<TensorToWrite> tensors;
  // Narrow types first, odd numbers of elements: the writer has to keep everything aligned all the same.
  for (std::size_t i = std::size(kAll); i-- > 0;) {
    tensors.push_back({"t." + std::string(name_of(kAll[i])), kAll[i], {3, 5}, bytes.data()});
  }
  write_safetensors(path, tensors);
  const SafetensorsFile file = SafetensorsFile::open(path);
  ASSERT_EQ(file.entries().size(), std::size(kAll));
  for (const TensorToWrite& tensor : tensors) {
    const TensorEntry* entry = file.find(tensor.name);
    ASSERT_NE(entry, nullptr) << tensor.name;
    EXPECT_EQ(entry->type, tensor.type);
    EXPECT_EQ(entry->shape, tensor.shape);
    EXPECT_EQ(entry->elements(), 15);
    ASSERT_EQ(entry->bytes, 15 * size_of(tensor.type));
    EXPECT_EQ(std::memcmp(entry->data, bytes.data(), entry->bytes), 0) << tensor.name;
    EXPECT_EQ(element_type_of(name_of(tensor.type)), tensor.type);
    // Inside the mapping: nothing had to be copied to be aligned.
    const Buffer memory = file.keep_alive();
    const auto offset = static_cast<std::byte*>(entry->data) - static_cast<std::byte*>(memory.data.get());
    EXPECT_GE(offset, 0);
    EXPECT_LE(static_cast<std::size_t>(offset) + entry->bytes, memory.bytes);
    EXPECT_EQ(static_cast<std::size_t>(offset) % size_of(tensor.type), 0u);
  }
  EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}}));
  EXPECT_EQ(file.find("absent"), nullptr);
}

TEST(Safetensors, BytesAreAsTheFormatSays) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  const std::uint8_t bytes[] = {1, 2};
  const float number = 1.0f;
  const std::vector<TensorToWrite> tensors{{"b", ElementType::u8, {2}, bytes}, {"a\"", ElementType::f32, {}, &number}};
  write_safetensors(path, tensors, {{"k", "v"}});
  const std::string header = R"({"__metadata__":{"k":"v"},"a\"":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(read_bytes(path), length_bytes(padded.size()) + padded + std::string("\0\0\x80\x3F\1\2", 6));
}

TEST(Safetensors, ScalarsAndZeroSizes) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  const float number = 2.5f;
  const std::vector<TensorToWrite> tensors{{"none", ElementType::f32, {0, 7}, nullptr},
                                           {"scalar", ElementType::f32, {}, &number},
                                           {"nothing", ElementType::u8, {3, 0}, nullptr}};
  write_safetensors(path, tensors, {});
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.find("scalar")->elements(), 1);
  EXPECT_EQ(*static_cast<const float*>(file.find("scalar")->data), 2.5f);
  EXPECT_EQ(file.find("none")->bytes, 0u);
  EXPECT_EQ(file.find("none")->shape, (std::vector<std::int64_t>{0, 7}));
  EXPECT_EQ(file.find("nothing")->shape_text(), "[3, 0]");
  EXPECT_TRUE(file.metadata().empty());

  write_safetensors(path, {}, {});
  EXPECT_TRUE(SafetensorsFile::open(path).entries().empty());
  write_bytes(path, safetensors_bytes("{}"));  // the smallest file
  EXPECT_TRUE(SafetensorsFile::open(path).entries().empty());
}

TEST(Safetensors, LeadingAndTrailingBlanksAreRead) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  write_bytes(path,
              safetensors_bytes(" \n\t{\"w\": {\"shape\":[4] ,\"data_offsets\":[0,4],\"dtype\":\"U8\"}}   ", 4, 'x'));
  EXPECT_EQ(*static_cast<const char*>(SafetensorsFile::open(path).find("w")->data), 'x');
}

TEST(Safetensors, MisalignedTensorsAreCopiedToAlignedMemory) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  const double number = 0.1;
  std::string header = R"({"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})";
  header.resize((header.size() + 7) / 8 * 8 + 1, ' ');
  write_bytes(path, safetensors_bytes(header) + std::string(reinterpret_cast<const char*>(&number), 8));
  const SafetensorsFile file = SafetensorsFile::open(path);
  const TensorEntry* entry = file.find("w");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(entry->data) % 8, 0u);
  EXPECT_EQ(*static_cast<const double*>(entry->data), 0.1);
}

TEST(Safetensors, ManyTensors) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  std::vector<std::int32_t> values(20'000);
  std::iota(values.begin(), values.end(), 0);
  std::vector<TensorToWrite> tensors;
  for (std::size_t i = 0; i < values.size(); ++i) {
    tensors.push_back({"layer." + std::to_string(i), ElementType::i32, {1, 1, 1}, &values[i]});
  }
  write_safetensors(path, tensors);
  const SafetensorsFile file = SafetensorsFile::open(path);
  ASSERT_EQ(file.entries().size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const TensorEntry* entry = file.find("layer." + std::to_string(i));
    ASSERT_NE(entry, nullptr);
    ASSERT_EQ(*static_cast<const std::int32_t*>(entry->data), static_cast<std::int32_t>(i));
  }
}

TEST(Safetensors, MemoryIsPrivateAndOutlivesTheFileObject) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  const std::vector<float> values(5000, 1.0f);
  write_safetensors(path, std::vector<TensorToWrite>{{"w", ElementType::f32, {5000}, values.data()}});
  const std::string before = read_bytes(path);
  Buffer buffer;
  float* data = nullptr;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    buffer = file.keep_alive();
    data = static_cast<float*>(file.find("w")->data);
  }
  data[4999] = 7.0f;  // training in place
  EXPECT_EQ(data[4999], 7.0f);
  EXPECT_EQ(read_bytes(path), before);
  // Replacing the file by another (output = input) does not touch what is mapped.
  const float other = 3.0f;
  write_safetensors(path, std::vector<TensorToWrite>{{"w", ElementType::f32, {1}, &other}});
  EXPECT_EQ(data[0], 1.0f);
  EXPECT_EQ(*static_cast<const float*>(SafetensorsFile::open(path).find("w")->data), 3.0f);
}

TEST(Safetensors, RefusesToWriteWhatItWouldNotRead) {
  const TempDir directory;
  const float number = 0;
  const auto write = [&](const std::string& a, const std::string& b) {
    write_safetensors(directory / "a.safetensors", std::vector<TensorToWrite>{{a, ElementType::f32, {}, &number},
                                                                              {b, ElementType::f32, {}, &number}});
  };
  expect_error(ErrorKind::usage, {"a.safetensors", "\"x\""}, [&] { write("x", "x"); });
  expect_error(ErrorKind::usage, {"a.safetensors", "x\\x0a"}, [&] { write("y", "x\n"); });
  expect_error(ErrorKind::usage, {"__metadata__"}, [&] { write("y", "__metadata__"); });
  EXPECT_TRUE(names_in(directory.path()).empty());
}

TEST(Safetensors, AFullDiskLeavesTheOldFileAndNothingElse) {
  const TempDir directory;
  const fs::path path = directory / "a.safetensors";
  const std::vector<float> values(100'000, 1.0f);
  write_safetensors(path, std::vector<TensorToWrite>{{"w", ElementType::f32, {10}, values.data()}});
  const std::string before = read_bytes(path);

  // A limit on the size of files stands for the full disk: write(2) fails in the middle of the file.
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  struct rlimit low = old;
  low.rlim_cur = 64 * 1024;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  expect_error(ErrorKind::io, {path, "cannot write"}, [&] {
    write_safetensors(path, std::vector<TensorToWrite>{{"w", ElementType::f32, {100'000}, values.data()}});
  });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_EQ(read_bytes(path), before);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"a.safetensors"});
}

TEST(Safetensors, UnwritableTargets) {
  const TempDir directory;
  const auto write = [](const fs::path& path) { write_safetensors(path, {}); };
  expect_error(ErrorKind::io, {"absent/a.safetensors", "No such file"},
               [&] { write(directory / "absent/a.safetensors"); });
  expect_error(ErrorKind::io, {"/dev/null", "a character device"}, [&] { write("/dev/null"); });
  expect_error(ErrorKind::io, {"a directory"}, [&] { write(directory.path()); });
}

TEST(Safetensors, ReferenceFilesComeBackByteForByte) {
  const auto tiny = shared_directory("golden/tiny");
  if (!tiny) GTEST_SKIP() << "no reference files: set BERTX_SHARED";
  const TempDir directory;
  for (const auto& item : fs::directory_iterator(*tiny)) {
    const WeightFiles weights = WeightFiles::open(item.path());
    std::vector<TensorToWrite> tensors;
    for (const TensorEntry* entry : weights.entries()) {
      require_finite(*entry, weights.path_of(*entry));
      tensors.push_back({entry->name, entry->type, entry->shape, entry->data});
    }
    EXPECT_GT(tensors.size(), 50u);
    write_safetensors(directory / "model.safetensors", tensors, weights.metadata());
    EXPECT_EQ(read_bytes(directory / "model.safetensors"), read_bytes(item.path() / "model.safetensors"));
  }
}

}  // namespace
}  // namespace bertx::test
