// A piece of a stream of texts: one text a line, or two with a tab between them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bertx/tokenizer.h"
#include "common/output.h"

namespace bertx::tools {

enum class Pairs { none, allowed, required };  ///< none: a tab is a blank

class TextLines {
 public:
  /// Reads one line, and then as many as are there without waiting, `most` at most. False at the end.
  /// Throws Error(bad_input) naming the line for a wrong number of tabs.
  bool read(LineReader& reader, std::size_t most, Pairs pairs);
  const std::vector<TextView>& views() const { return views_; }

 private:
  std::vector<std::string> lines_;
  std::vector<TextView> views_;
};

}  // namespace bertx::tools
