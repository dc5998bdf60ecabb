// Small files to load, and how a test asks for an Error.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "bertx/dataset.h"
#include "bertx/error.h"
#include "support.h"

namespace bertx::test {

/// Loads texts as if they stood in a file of that name.
class OwnFile : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    std::filesystem::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name, std::ios::binary) << bytes;
    return directory_ / name;
  }
  Dataset load(const std::string& name, std::string_view bytes, Split split = Split::train,
               const Dataset* like = nullptr, const Columns& columns = {}) const {
    return load_file(write(name, bytes), columns, split, like);
  }
  TemporaryDirectory directory_;
};

/// `call` must throw Error of that kind whose text holds every one of `parts`.
inline void expect_error(ErrorKind kind, std::initializer_list<std::string_view> parts,
                         const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no Error was thrown, expected one that says \"" << *parts.begin() << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    for (const std::string_view part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "expected \"" << part << "\" in: " << error.what();
    }
  }
}

inline std::vector<std::string> texts_of(const Dataset& data) {
  std::vector<std::string> texts;
  for (const Example& example : data.examples) texts.push_back(example.text_a);
  return texts;
}
inline std::vector<std::int32_t> labels_of(const Dataset& data) {
  std::vector<std::int32_t> labels;
  for (const Example& example : data.examples) labels.push_back(example.label);
  return labels;
}

}  // namespace bertx::test
