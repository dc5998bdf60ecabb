// Files changed at random, and files made to eat memory: an error or a right result, never more.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>

#include "bertx/safetensors.h"
#include "io/config_names.h"
#include "io/json.h"
#include "io/safetensors_header.h"
#include "io_support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BERTX_COUNTS_ALLOCATIONS 0
#else
#define BERTX_COUNTS_ALLOCATIONS 1
#include <malloc.h>

namespace {
std::atomic<std::size_t> bytes_now{0}, bytes_peak{0};

void count_in(void* memory) {
  const std::size_t now = bytes_now += ::malloc_usable_size(memory);
  std::size_t peak = bytes_peak;
  while (now > peak && !bytes_peak.compare_exchange_weak(peak, now)) {
  }
}
}  // namespace

void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (!memory) throw std::bad_alloc();
  count_in(memory);
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory) bytes_now -= ::malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
#endif

namespace bertx::test {
namespace {

/// Flips, cuts, doubles and inserts bytes; mostly within the first `interesting` ones.
std::string mutate(std::string bytes, std::size_t interesting, std::mt19937& random) {
  static constexpr std::string_view kPieces[] = {"{",
                                                 "}",
                                                 "[",
                                                 "]",
                                                 "\"",
                                                 ":",
                                                 ",",
                                                 "-",
                                                 "0",
                                                 "9999999999",
                                                 "1e9",
                                                 "null",
                                                 "18446744073709551615",
                                                 "\\u0000",
                                                 "[[[[",
                                                 "\"a\":1,",
                                                 "\xFF"};
  const int changes = 1 + static_cast<int>(random() % 4);
  for (int i = 0; i < changes && !bytes.empty(); ++i) {
    const std::size_t range = random() % 8 == 0 ? bytes.size() : std::min(bytes.size(), interesting);
    const std::size_t at = random() % range;
    switch (random() % 6) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8)); break;
      case 2: bytes.resize(at); break;
      case 3: bytes.erase(at, 1 + random() % 8); break;
      case 4: bytes.insert(at, kPieces[random() % std::size(kPieces)]); break;
      default: bytes.insert(at, bytes.substr(at, random() % 64)); break;
    }
  }
  return bytes;
}

TEST(Hostile, MutatedSafetensors) {
  std::string header =
      R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b":{"dtype":"I64","shape":[],"data_offsets":[24,32]},)"
      R"("c":{"dtype":"U8","shape":[0,9],"data_offsets":[32,32]}})";
  const std::string right = safetensors_bytes(header, 32);
  std::mt19937 random(1);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = mutate(right, header.size() + 8, random);
    // Half of the time the length is right again, so that the parser behind it is reached.
    if (round % 2 == 0 && bytes.size() >= 40) bytes.replace(0, 8, length_bytes(bytes.size() - 40));
    // Memory of exactly this size: a sanitizer sees any byte read behind it.
    const std::unique_ptr<std::byte[]> memory(new std::byte[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(memory.get()));
    try {
      const SafetensorsHeader result = read_safetensors_header({memory.get(), bytes.size()}, "mutated");
      ++accepted;
      std::size_t sum = 0;
      for (const TensorEntry& entry : result.entries) {
        const auto begin = static_cast<std::byte*>(entry.data) - memory.get();
        ASSERT_GE(begin, 8);
        ASSERT_LE(static_cast<std::size_t>(begin) + entry.bytes, bytes.size());
        std::size_t product = size_of(entry.type);
        for (const std::int64_t dimension : entry.shape) product *= static_cast<std::size_t>(dimension);
        ASSERT_EQ(product, entry.bytes);
        ASSERT_EQ(find_by_name(result.entries, result.by_name, entry.name), &entry);
        sum += entry.bytes;
      }
      ASSERT_LE(sum, bytes.size());
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::bad_input) << error.what();
    }
  }
  EXPECT_GT(accepted, 100);  // the mutations are not all so coarse that nothing behind the first check is reached
  EXPECT_LT(accepted, 19'000);
}

TEST(Hostile, MutatedConfigs) {
  const std::string right =
      R"({"architectures":["BertForSequenceClassification"],"hidden_size":48,"num_hidden_layers":3,
    "num_attention_heads":4,"intermediate_size":96,"hidden_act":"gelu","hidden_dropout_prob":0.1,"layer_norm_eps":1e-12,
    "id2label":{"0":"a","1":"b"},"label2id":{"a":0,"b":1},"pruned_heads":{"1":[0,2]},"classifier_dropout":null,
    "problem_type":"single_label_classification","vocab_size":525,"pad_token_id":0,"model_type":"bert"})";
  std::mt19937 random(2);
  int accepted = 0;
  for (int round = 0; round < 5'000; ++round) {
    try {
      const Config config = config_of_json(parse_json_text(mutate(right, right.size(), random), "mutated"), "mutated");
      ++accepted;
      ASSERT_GT(config.hidden, 0);
      ASSERT_EQ(config.hidden % config.heads, 0);
      ASSERT_LE(config.layers.size(), 1000u);
      ASSERT_LT(config.pad_token, config.vocab);
      ASSERT_GE(config.labels.size(), 1u);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::bad_input) << error.what();
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_LT(accepted, 4'900);
}

#if BERTX_COUNTS_ALLOCATIONS

/// The most bytes that were allocated at one time while `action` ran; its Errors are swallowed.
template <class Action>
std::size_t peak_of(const Action& action) {
  const std::size_t before = bytes_now;
  bytes_peak = before;
  try {
    action();
  } catch (const Error&) {
  }
  return bytes_peak - before;
}

TEST(Hostile, HeadersAllocateAtMostAFewTimesTheirSize) {
  std::string tensors = "{", metadata = "{\"__metadata__\":{", shapes = "{";
  for (int i = 0; i < 100'000; ++i) {
    const std::string name = std::to_string(i);
    tensors += (i ? ",\"" : "\"") + name + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
    metadata += (i ? ",\"" : "\"") + name + "\":\"\"";
    shapes += (i ? ",\"" : "\"") + name +
              "\":{\"shape\":[0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]," +
              "\"dtype\":\"U8\",\"data_offsets\":[0,0]}";
  }
  for (const std::string& header :
       {tensors + "}", metadata + "}}", shapes + "}", "{\"" + std::string(1'000'000, 'n') + "\":1}",
        "{\"w\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807],\"data_offsets\":[0,1]}}" + std::string(1000, ' ')}) {
    std::string bytes = safetensors_bytes(header);
    const std::size_t peak = peak_of([&] {
      read_safetensors_header({reinterpret_cast<std::byte*>(bytes.data()), bytes.size()}, "hostile");
    });
    EXPECT_LE(peak, 16 * header.size() + 4096) << header.substr(0, 40);
  }
}

TEST(Hostile, JsonAllocatesAtMostAFewTimesItsSize) {
  std::string zeros = "[0", objects = "{\"0\":0", nested = "[[]";
  for (int i = 1; i < 100'000; ++i) {
    zeros += ",0";
    objects += ",\"" + std::to_string(i) + "\":0";
    nested += ",[]";
  }
  for (const std::string& text :
       {zeros + "]", objects + "}", nested + "]", "\"" + std::string(1'000'000, 's') + "\""}) {
    EXPECT_LE(peak_of([&] { parse_json_text(text, "hostile"); }), 40 * text.size() + 4096) << text.substr(0, 40);
  }
}

TEST(Hostile, ATinyFileThatClaimsMuchAllocatesLittle) {
  const TempDir directory;
  write_bytes(directory / "a.safetensors", length_bytes(99'999'999) + "{}");
  EXPECT_LT(peak_of([&] { SafetensorsFile::open(directory / "a.safetensors"); }), 100'000u);
  const auto config = [](const char* text) { config_of_json(parse_json_text(text, "x"), "x"); };
  EXPECT_LT(peak_of([&] { config(R"({"num_hidden_layers":1000000000,"num_labels":1000000000})"); }), 100'000u);
  EXPECT_GT(peak_of([&] { config(R"({"num_labels":60000})"); }), 100'000u);  // the counter counts
}

#endif

}  // namespace
}  // namespace bertx::test
