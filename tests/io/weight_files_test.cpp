// Sharded weights: the index, its shards and where they lie.
#include <gtest/gtest.h>

#include "bertx/safetensors.h"
#include "io_support.h"

namespace bertx::test {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

void write_shard(const fs::path& path, const std::vector<std::string>& names, float first) {
  std::vector<float> values(names.size() * 2);
  std::vector<TensorToWrite> tensors;
  for (std::size_t i = 0; i < names.size(); ++i) {
    values[2 * i] = first + static_cast<float>(i);
    tensors.push_back({names[i], ElementType::f32, {2}, &values[2 * i]});
  }
  write_safetensors(path, tensors);
}

/// Two shards: a and b in the first, c in the second.
class WeightFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    write_shard(directory_ / "model-1.safetensors", {"a", "b"}, 1);
    write_shard(directory_ / "model-2.safetensors", {"c"}, 3);
    write_index(R"("a":"model-1.safetensors","b":"model-1.safetensors","c":"model-2.safetensors")");
  }
  void write_index(const std::string& map, const std::string& total_size = "24") {
    write_bytes(directory_ / kIndex, "{\"metadata\":{\"total_size\":" + total_size + "},\"weight_map\":{" + map + "}}");
  }
  void expect_bad(std::vector<std::string> words) {
    words.push_back(kIndex);
    expect_bad_input(words, [&] { WeightFiles::open(directory_.path()); });
  }
  TempDir directory_;
};

TEST_F(WeightFilesTest, ShardsAreOneSetOfTensors) {
  const WeightFiles weights = WeightFiles::open(directory_.path());
  EXPECT_EQ(weights.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(weights.entries().size(), 3u);
  EXPECT_EQ(weights.files().size(), 2u);
  for (const auto& [name, value] : {std::pair{"a", 1.0f}, {"b", 2.0f}, {"c", 3.0f}}) {
    ASSERT_NE(weights.find(name), nullptr);
    EXPECT_EQ(*static_cast<const float*>(weights.find(name)->data), value);
  }
  EXPECT_EQ(weights.find("d"), nullptr);
  EXPECT_EQ(weights.path_of(*weights.find("c")), directory_ / "model-2.safetensors");
  EXPECT_EQ(weights.path_of(*weights.find("b")), directory_ / "model-1.safetensors");
}

TEST_F(WeightFilesTest, MemoryOutlivesTheObject) {
  Buffer buffer;
  const float* data = nullptr;
  {
    const WeightFiles weights = WeightFiles::open(directory_.path());
    buffer = weights.keep_alive();
    data = static_cast<const float*>(weights.find("c")->data);
  }
  EXPECT_EQ(*data, 3.0f);
}

TEST_F(WeightFilesTest, OneFileGoesBeforeAnIndex) {
  write_shard(directory_ / "model.safetensors", {"x"}, 9);
  EXPECT_EQ(WeightFiles::open(directory_.path()).names(), std::vector<std::string>{"x"});
}

TEST_F(WeightFilesTest, NamesThatLeaveTheDirectory) {
  write_shard(directory_.path().parent_path() / "bertx-outside.safetensors", {"c"}, 3);
  for (const char* name : {"../bertx-outside.safetensors", "/etc/passwd", "/tmp/x.safetensors", "sub/x.safetensors",
                           "..", "", "model.bin", "a\\u0000.safetensors", "a\\n.safetensors"}) {
    write_index(R"("a":"model-1.safetensors","b":"model-1.safetensors","c":")" + std::string(name) + "\"");
    expect_bad({"weight_map: \"c\"", "in the same directory"});
  }
  fs::remove(directory_.path().parent_path() / "bertx-outside.safetensors");
}

TEST_F(WeightFilesTest, LinksThatLeaveTheDirectory) {
  const TempDir outside;
  write_shard(outside / "secret.safetensors", {"c"}, 3);
  fs::remove(directory_ / "model-2.safetensors");
  fs::create_symlink(outside / "secret.safetensors", directory_ / "model-2.safetensors");
  expect_bad_input({"model-2.safetensors", "a link to", "secret.safetensors", "a file inside"},
                   [&] { WeightFiles::open(directory_.path()); });
  // A link that stays inside is no harm.
  fs::remove(directory_ / "model-2.safetensors");
  fs::copy_file(outside / "secret.safetensors", directory_ / "blob");
  fs::create_symlink("blob", directory_ / "model-2.safetensors");
  EXPECT_EQ(WeightFiles::open(directory_.path()).names().size(), 3u);
}

TEST_F(WeightFilesTest, LinksOfTheHubCache) {
  const fs::path model = directory_ / "models--org--name", snapshot = model / "snapshots/abc";
  fs::create_directories(snapshot);
  fs::create_directories(model / "blobs");
  fs::rename(directory_ / "model-1.safetensors", model / "blobs/111");
  fs::rename(directory_ / "model-2.safetensors", model / "blobs/222");
  fs::rename(directory_ / kIndex, model / "blobs/333");
  fs::create_symlink("../../blobs/111", snapshot / "model-1.safetensors");
  fs::create_symlink("../../blobs/222", snapshot / "model-2.safetensors");
  fs::create_symlink("../../blobs/333", snapshot / kIndex);
  EXPECT_EQ(WeightFiles::open(snapshot).names().size(), 3u);
  // Another model's folder in the cache is out of bounds.
  fs::create_directories(directory_ / "models--org--other");
  fs::rename(model / "blobs/222", directory_ / "models--org--other/222");
  fs::remove(snapshot / "model-2.safetensors");
  fs::create_symlink(directory_ / "models--org--other/222", snapshot / "model-2.safetensors");
  expect_bad_input({"model-2.safetensors", "a link to"}, [&] { WeightFiles::open(snapshot); });
}

TEST_F(WeightFilesTest, MissingShard) {
  fs::remove(directory_ / "model-2.safetensors");
  expect_bad({"shard \"model-2.safetensors\"", "No such file"});
}

TEST_F(WeightFilesTest, TensorThatItsShardLacks) {
  write_index(R"("a":"model-1.safetensors","b":"model-1.safetensors","c":"model-1.safetensors")");
  expect_bad({"tensor \"c\"", "not found in model-1.safetensors"});
}

TEST_F(WeightFilesTest, TensorInTwoShards) {
  write_shard(directory_ / "model-2.safetensors", {"b", "c"}, 3);
  expect_bad({"tensor \"b\"", "found in model-2.safetensors and in model-1.safetensors", "in one shard"});
}

TEST_F(WeightFilesTest, TensorThatTheIndexLacks) {
  write_shard(directory_ / "model-2.safetensors", {"c", "d"}, 3);
  expect_bad({"tensor \"d\"", "found in model-2.safetensors", "not in the index"});
}

TEST_F(WeightFilesTest, LyingTotalSize) {
  const std::string map = R"("a":"model-1.safetensors","b":"model-1.safetensors","c":"model-2.safetensors")";
  write_index(map, "1000000000000");
  expect_bad({"total_size: found 1000000000000", "expected 24"});
  write_index(map, "-1");
  expect_bad({"total_size: found -1"});
  write_index(map, "\"24\"");
  expect_bad({"total_size: found \"24\" (string)", "an integer"});
  write_index(map, "null");
  EXPECT_NO_THROW(WeightFiles::open(directory_.path()));
}

TEST_F(WeightFilesTest, MalformedIndex) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"", {"malformed JSON"}},
           {"[]", {"an array of 0", "an object"}},
           {"{}", {"weight_map", "nothing"}},
           {R"({"weight_map":{}})", {"weight_map", "no tensors"}},
           {R"({"weight_map":{"a":1}})", {"weight_map: \"a\": found 1", "a file name"}},
           {R"({"weight_map":{"a":"x.safetensors","a":"x.safetensors"}})", {"key \"a\"", "twice"}},
           {R"({"weight_map":[]})", {"weight_map", "an array", "an object"}},
           {R"({"metadata":3,"weight_map":{"a":"x.safetensors"}})", {"metadata", "found 3"}}}) {
    write_bytes(directory_ / kIndex, text);
    expect_bad(words);
  }
}

TEST_F(WeightFilesTest, BadShardIsNamed) {
  write_bytes(directory_ / "model-2.safetensors", "1234567");
  expect_bad_input({"model-2.safetensors: ", "7 bytes"}, [&] { WeightFiles::open(directory_.path()); });
}

TEST(WeightFiles, PickleIsRefusedWithTheWayToConvertIt) {
  const TempDir directory;
  write_bytes(directory / "pytorch_model.bin", "PK");
  expect_bad_input({"pytorch_model.bin", "pickle", "save_pretrained"}, [&] { WeightFiles::open(directory.path()); });
  fs::rename(directory / "pytorch_model.bin", directory / "pytorch_model-00001-of-00002.bin");
  expect_bad_input({"pytorch_model-00001-of-00002.bin", "pickle"}, [&] { WeightFiles::open(directory.path()); });
  write_shard(directory / "model.safetensors", {"a"}, 1);  // both: the pickle is not looked at
  EXPECT_NO_THROW(WeightFiles::open(directory.path()));
}

TEST(WeightFiles, NoWeights) {
  const TempDir directory;
  expect_error(ErrorKind::io, {directory.path(), "model.safetensors", kIndex},
               [&] { WeightFiles::open(directory.path()); });
  expect_error(ErrorKind::io, {"absent", "No such file"}, [&] { WeightFiles::open(directory / "absent"); });
}

}  // namespace
}  // namespace bertx::test
