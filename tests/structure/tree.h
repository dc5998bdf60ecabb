// The rules of the source tree, as functions of a directory, so that a test can show each of them fail.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace bertx::test {

namespace fs = std::filesystem;

/// From the lowest to the highest: a package may include what stands before it.
inline constexpr std::array<std::string_view, 4> kPackages{"sparse", "engine", "compress", "tools"};

inline std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

inline std::vector<fs::path> sources_of(const fs::path& directory) {
  std::vector<fs::path> out;
  if (!fs::exists(directory)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    const std::string extension = entry.path().extension();
    if (extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh")
      out.push_back(entry.path());
  }
  std::ranges::sort(out);
  return out;
}

/// The name inside #include "…" or <…>; empty for other lines.
inline std::string included(const std::string& line) {
  if (!line.starts_with("#include ")) return {};
  const std::size_t open = line.find_first_of("\"<"), close = line.find_last_of("\">");
  return open == std::string::npos || close <= open ? std::string() : line.substr(open + 1, close - open - 1);
}

/// Includes that go against the direction tools -> compress -> engine -> sparse, or past the public headers of another
/// package. `allowed` are private headers that may be included from above.
inline std::vector<std::string> wrong_includes(const fs::path& root, const std::vector<std::string>& allowed) {
  std::vector<std::string> wrong;
  for (std::size_t p = 0; p < kPackages.size(); ++p) {
    const fs::path own = root / kPackages[p];
    for (const fs::path& source : sources_of(own)) {
      for (const std::string& line : lines_of(source)) {
        const std::string name = included(line);
        const bool inside = name.empty() || fs::exists(source.parent_path() / name) || fs::exists(own / name) ||
                            fs::exists(own / "include" / name);
        if (inside) continue;
        for (std::size_t q = 0; q < kPackages.size(); ++q) {
          const bool is_public = fs::exists(root / kPackages[q] / "include" / name);
          const bool is_private = fs::exists(root / kPackages[q] / name);
          const bool excused = is_private && std::ranges::find(allowed, name) != allowed.end();
          if ((is_public && q > p) || (is_private && !(q < p && excused))) {
            wrong.push_back(fs::relative(source, root).string() + " includes " + name + " of " +
                            std::string(kPackages[q]));
          }
        }
      }
    }
  }
  return wrong;
}

/// Public headers that would force a third-party library on who includes them.
inline std::vector<std::string> foreign_public_includes(const fs::path& root) {
  std::vector<std::string> wrong;
  for (const std::string_view package : kPackages) {
    for (const fs::path& source : sources_of(root / package / "include")) {
      for (const std::string& line : lines_of(source)) {
        const std::string name = included(line);
        for (const char* foreign :
             {"dnnl", "oneapi/", "nlohmann/", "utf8proc", "cxxopts", "Eigen", "cuda", "cublas", "gtest/"}) {
          if (name.starts_with(foreign)) wrong.push_back(fs::relative(source, root).string() + " includes " + name);
        }
      }
    }
  }
  return wrong;
}

/// Files of more than `most` lines; generated tables are not read by people.
inline std::vector<std::string> long_files(const fs::path& root, std::size_t most) {
  std::vector<std::string> wrong;
  for (const char* part : {"sparse", "engine", "compress", "tools", "tests"}) {
    for (const fs::path& source : sources_of(root / part)) {
      if (source.filename() == "unicode_tables.cpp") continue;
      const std::size_t lines = lines_of(source).size();
      if (lines > most) wrong.push_back(fs::relative(source, root).string() + ": " + std::to_string(lines) + " lines");
    }
  }
  return wrong;
}

/// Lines that leave work to be done. The words are put together here so that this file is not found itself.
inline std::vector<std::string> unfinished_lines(const fs::path& root) {
  const std::vector<std::string> marks{std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X:"};
  std::vector<std::string> wrong;
  for (const char* part : {"sparse", "engine", "compress", "tools", "tests"}) {
    for (const fs::path& source : sources_of(root / part)) {
      std::size_t number = 0;
      for (const std::string& line : lines_of(source)) {
        ++number;
        for (const std::string& mark : marks) {
          if (line.find(mark) == std::string::npos) continue;
          wrong.push_back(fs::relative(source, root).string() + ":" + std::to_string(number) + ": " + mark);
        }
      }
    }
  }
  return wrong;
}

}  // namespace bertx::test
