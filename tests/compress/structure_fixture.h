// Tiny models and labelled texts to cut heads, neurons and layers by.
#pragma once

#include <gtest/gtest.h>

#include "../model/tiny.h"
#include "bertx/compress.h"
#include "bertx/error.h"
#include "bertx/safetensors.h"
#include "sharing_fixture.h"

namespace bertx::compress {

/// `kind` as in test::represent, or dense.
inline Model classifier(Backend& backend, std::int64_t layers = 2, const std::string& kind = "dense") {
  Model model = deep_model(backend, layers);
  if (kind != "dense") test::represent(backend, model, kind, 6);
  return model;
}

/// Texts of 2 to 9 tokens.
inline std::vector<EncodedExample> labelled_texts(std::size_t count, std::uint64_t seed = 8) {
  test::RandomSource random(seed);
  std::vector<EncodedExample> examples(count);
  for (EncodedExample& example : examples) {
    for (std::int64_t n = random.integer(2, 9); n > 0; --n) {
      example.ids.push_back(static_cast<std::int32_t>(random.integer(0, 22)));
      example.types.push_back(static_cast<std::int32_t>(random.integer(0, 1)));
    }
    example.label = static_cast<std::int32_t>(random.integer(0, 2));
  }
  return examples;
}

/// The five texts of golden/tiny/classification.
inline std::vector<EncodedExample> golden_texts(const std::filesystem::path& directory) {
  const SafetensorsFile golden = SafetensorsFile::open(directory / "golden.safetensors");
  const auto i32 = [&](const char* name) { return static_cast<const std::int32_t*>(golden.find(name)->data); };
  std::vector<EncodedExample> examples(5);
  for (std::size_t b = 0; b < 5; ++b) {
    for (std::size_t t = 0; t < 37 && i32("in.attention_mask")[b * 37 + t]; ++t) {
      examples[b].ids.push_back(i32("in.input_ids")[b * 37 + t]);
      examples[b].types.push_back(i32("in.token_type_ids")[b * 37 + t]);
    }
    examples[b].label = i32("in.labels")[b];
  }
  return examples;
}

inline std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  return "no error";
}
#define EXPECT_REFUSED(call, part) \
  EXPECT_NE(refusal([&] { call; }).find(part), std::string::npos) << refusal([&] { call; })

/// Heads (or neurons) of each layer.
inline std::vector<std::int64_t> sizes(const Model& model, std::int64_t LayerShape::*size) {
  std::vector<std::int64_t> out;
  for (const EncoderLayer& layer : model.layers) out.push_back(layer.shape.*size);
  return out;
}

}  // namespace bertx::compress
