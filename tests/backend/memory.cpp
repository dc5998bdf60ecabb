// Memory: the arena, moving tensors between host and backend with conversion, the 16-bit formats, the table of names.
#include <cstring>

#include "bertx/arena.h"
#include "bertx/error.h"
#include "core/float16.h"
#include "scene.h"

namespace bertx::test {
namespace {

TEST(RowStride, IsAVectorAndNeverAliases) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::i32, DType::u8}) {
    for (std::int64_t cols = 0; cols < 9000; cols += cols < 70 ? 1 : 13) {
      const std::int64_t stride = row_stride(cols, dtype), bytes = stride * static_cast<std::int64_t>(size_of(dtype));
      ASSERT_GE(stride, cols);
      ASSERT_EQ(bytes % 64, 0);
      ASSERT_NE(bytes % 4096, 0);
      ASSERT_LE(bytes, cols * static_cast<std::int64_t>(size_of(dtype)) + 128);
    }
  }
}

class ArenaTest : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = make_reference_backend();
  Arena arena_{*backend_};
};

TEST_F(ArenaTest, TensorsAreAlignedAndDoNotOverlap) {
  RandomSource random(1);
  std::vector<Tensor> tensors;
  for (int i = 0; i < 200; ++i) {
    tensors.push_back(arena_.take(random.integer(0, 40), random.integer(0, 700), DType::f32));
    const Tensor x = tensors.back();
    ASSERT_FALSE(x.empty());
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(x.data) % 64, 0u);
    std::memset(x.data, i, static_cast<std::size_t>(x.rows * x.stride) * 4);
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(tensors[i].data);
    for (std::int64_t j = 0; j < tensors[i].rows * tensors[i].stride * 4; ++j) ASSERT_EQ(bytes[j], i % 256);
  }
  EXPECT_GE(arena_.reserved_bytes(), arena_.peak_bytes());
}

TEST_F(ArenaTest, RewindGivesBackTheSamePlace) {
  arena_.take(3, 100, DType::f32);
  const Arena::Mark mark = arena_.mark();
  const void* first = arena_.take(5, 1000, DType::f64).data;
  arena_.take(500, 1000, DType::f64);  // needs another chunk
  const std::size_t peak = arena_.peak_bytes(), reserved = arena_.reserved_bytes();
  arena_.rewind(mark);
  EXPECT_EQ(arena_.take(5, 1000, DType::f64).data, first);
  arena_.take(500, 1000, DType::f64);
  EXPECT_EQ(arena_.peak_bytes(), peak);
  EXPECT_EQ(arena_.reserved_bytes(), reserved);
}

TEST_F(ArenaTest, AfterTheFirstStepNothingIsAllocated) {
  const auto step = [&] {
    for (int i = 0; i < 50; ++i) arena_.take(64 + i, 512, DType::f32);
  };
  step();
  arena_.reset();
  const std::size_t reserved = arena_.reserved_bytes(), peak = arena_.peak_bytes();
  EXPECT_GE(reserved, peak);
  EXPECT_LE(reserved, peak + peak / 8);
  for (int i = 0; i < 3; ++i) {
    step();
    arena_.reset();
    EXPECT_EQ(arena_.reserved_bytes(), reserved);
  }
  EXPECT_EQ(arena_.peak_bytes(), peak);
}

TEST_F(ArenaTest, TooMuchIsAnErrorThatNamesTheBytesAndLeavesTheArenaUsable) {
  const Tensor before = arena_.take(1, 10, DType::f32);
  for (const std::int64_t rows : {std::int64_t{1} << 50, std::int64_t{1} << 61}) {
    try {
      arena_.take(rows, 4, DType::f32);
      FAIL() << "taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
      EXPECT_NE(std::string(error.what()).find(rows == std::int64_t{1} << 50 ? "72057594037927936" : "address space"),
                std::string::npos)
          << error.what();
    }
  }
  EXPECT_NE(arena_.take(1, 10, DType::f32).data, before.data);
}

TEST(Float16, EveryFiniteNumberRoundTrips) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if (!std::isnan(f16_to_float(half))) {
      ASSERT_EQ(float_to_f16(f16_to_float(half)), half);
    } else {
      ASSERT_TRUE(std::isnan(f16_to_float(float_to_f16(f16_to_float(half)))));
    }
    if (!std::isnan(bf16_to_float(half))) {
      ASSERT_EQ(float_to_bf16(bf16_to_float(half)), half);
    } else {
      ASSERT_TRUE(std::isnan(bf16_to_float(float_to_bf16(bf16_to_float(half)))));
    }
  }
}

TEST(Float16, KnownValuesAndTiesToEven) {
  EXPECT_EQ(f16_to_float(0x3C00), 1.0f);
  EXPECT_EQ(f16_to_float(0x7BFF), 65504.0f);
  EXPECT_EQ(f16_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(f16_to_float(0xC000), -2.0f);
  EXPECT_EQ(float_to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7C00);             // infinity
  EXPECT_EQ(float_to_f16(1.0f + 0x1p-11f), 0x3C00);      // halfway: to the even one below
  EXPECT_EQ(float_to_f16(1.0f + 3 * 0x1p-11f), 0x3C02);  // halfway: to the even one above
  EXPECT_EQ(float_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_f16(3 * 0x1p-25f), 0x0002);
  EXPECT_EQ(float_to_f16(0x1p-14f - 0x1p-26f), 0x0400);  // rounds up to the smallest normal number
  EXPECT_EQ(bf16_to_float(0x3F80), 1.0f);
  EXPECT_EQ(float_to_bf16(1.0f + 0x1p-8f), 0x3F80);
  EXPECT_EQ(float_to_bf16(1.0f + 3 * 0x1p-8f), 0x3F82);
  EXPECT_EQ(float_to_bf16(3.4028235e38f), 0x7F80);
}

class Memory : public SubjectTest {};

TEST_P(Memory, ConvertsBetweenFloatTypes) {
  const auto backend = make();
  std::vector<float> singles{1, -2, 0.5f, 65504, 0, -0x1p-14f};
  std::vector<double> doubles(singles.begin(), singles.end());
  std::vector<std::uint16_t> halves, brains;
  for (const float value : singles) {
    halves.push_back(float_to_f16(value));
    brains.push_back(float_to_bf16(value));
  }
  const Tensor hosts[] = {view(singles.data(), 2, 3, DType::f32), view(doubles.data(), 2, 3, DType::f64),
                          view(halves.data(), 2, 3, DType::f16), view(brains.data(), 2, 3, DType::bf16)};
  for (const Tensor host : hosts) {
    Storage device = make_storage(*backend, 2, 5, backend->real());
    device.tensor.cols = 3;
    backend->upload(host, device.tensor);
    std::vector<double> expected = doubles;
    if (host.dtype == DType::bf16) expected[3] = 65536;
    EXPECT_EQ(values_of(*backend, device.tensor), expected) << static_cast<int>(host.dtype);
  }
  const Storage device = make_matrix(*backend, 2, 3, doubles, 2);
  for (const Tensor host : hosts) {
    std::vector<std::byte> bytes(6 * size_of(host.dtype));
    backend->download(device.tensor, view(bytes.data(), 2, 3, host.dtype));
    EXPECT_EQ(std::memcmp(bytes.data(), host.data, bytes.size()), 0) << static_cast<int>(host.dtype);
  }
}

TEST_P(Memory, IntegersAndMasksAreMovedAndFilled) {
  const auto backend = make();
  std::vector<std::int32_t> numbers{7, -100, 1 << 30}, back(3);
  const Storage indices = make_indices(*backend, numbers);
  backend->download(indices.tensor, view(back.data(), 1, 3, DType::i32));
  EXPECT_EQ(back, numbers);
  backend->fill(indices.tensor, -100);
  backend->download(indices.tensor, view(back.data(), 1, 3, DType::i32));
  EXPECT_EQ(back, std::vector<std::int32_t>(3, -100));
  std::vector<std::uint8_t> bits{1, 0, 1, 1}, bits_back(4);
  const Storage mask = make_mask(*backend, 2, 2, bits), other = make_mask(*backend, 2, 2, {0, 0, 0, 0});
  backend->copy(mask.tensor, other.tensor);
  backend->download(other.tensor, view(bits_back.data(), 2, 2, DType::u8));
  EXPECT_EQ(bits_back, bits);
}

TEST_P(Memory, StorageIsZeroAndEmptyStorageIsNotNull) {
  const auto backend = make();
  EXPECT_EQ(values_of(*backend, make_storage(*backend, 3, 4, backend->real()).tensor), std::vector<double>(12, 0.0));
  EXPECT_FALSE(make_storage(*backend, 0, 4, backend->real()).tensor.empty());
  EXPECT_THROW(backend->allocate(std::size_t{1} << 60), Error);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(backend->allocate(100).data.get()) % 64, 0u);
}

INSTANTIATE_TEST_SUITE_P(Backends, Memory, testing::ValuesIn(subjects()), subject_name);

TEST(Registry, KnowsItsNames) {
  EXPECT_EQ(make_backend("reference")->name(), "reference");
  EXPECT_EQ(make_backend("cpu")->name(), "cpu");
  EXPECT_EQ(make_backend("cpu")->real(), DType::f32);
  try {
    make_backend("gpu");
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    for (const char* part : {"gpu", "cpu", "cuda", "reference"}) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace bertx::test
