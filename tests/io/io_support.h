// What the tests of files share: a directory that goes away, files made of bytes, and the check of an error.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bertx/error.h"

namespace bertx::test {

namespace fs = std::filesystem;

/// A fresh directory, removed at the end of the test.
class TempDir {
 public:
  TempDir() {
    static std::atomic<int> counter{0};
    path_ = fs::temp_directory_path() /
            ("bertx-io-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1)));
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline void write_bytes(const fs::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(out.good()) << path;
}

inline std::string read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(directory)) names.push_back(item.path().filename());
  return names;
}

/// `action` must throw an Error of this kind whose text has all `words`.
inline void expect_error(ErrorKind kind, const std::vector<std::string>& words, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown; expected an error about " << (words.empty() ? "" : words.back());
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    for (const std::string& word : words) {
      EXPECT_NE(std::string_view(error.what()).find(word), std::string_view::npos)
          << "the message lacks <" << word << ">: " << error.what();
    }
    for (const char c : std::string_view(error.what())) {
      EXPECT_FALSE((c >= 0 && c < 0x20) || c == 0x7F) << "a control character in the message: " << error.what();
    }
  }
}

/// The content of a file is bad: the message names the file and says what was found and what was expected.
inline void expect_bad_input(std::vector<std::string> words, const std::function<void()>& action) {
  words.insert(words.end(), {"found", "expected"});
  expect_error(ErrorKind::bad_input, words, action);
}

inline std::string length_bytes(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  return bytes;
}

/// A safetensors file: the length, the header as it is given, and so many bytes of data.
inline std::string safetensors_bytes(std::string_view header, std::size_t data_bytes = 0, char fill = 0) {
  return length_bytes(header.size()) + std::string(header) + std::string(data_bytes, fill);
}

/// The folder of reference material beside the sources, where there is one.
inline std::optional<fs::path> shared_directory(std::string_view folder) {
  const char* named = std::getenv("BERTX_SHARED");
  const fs::path path = (named ? fs::path(named) : fs::path(BERTX_SOURCE_DIR).parent_path() / "shared") / folder;
  if (!fs::exists(path)) return std::nullopt;
  return path;
}

}  // namespace bertx::test
