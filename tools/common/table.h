// A table of text: columns as wide as their widest cell, numbers to the right.
#pragma once

#include <string>
#include <vector>

namespace bertx::tools {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace bertx::tools
