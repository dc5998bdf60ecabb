#include "data/texts.h"

#include "data/text_file.h"

namespace bertx::data {

void warn_of_blank_texts(Dataset& data, const std::filesystem::path& path) {
  std::int64_t blank = 0, first = 0;
  for (const Example& example : data.examples) {
    if (!trimmed(example.text_a).empty() || !trimmed(example.text_b).empty()) continue;
    if (blank++ == 0) first = example.line;
  }
  if (blank > 0) {
    data.warnings.push_back(
        text(shown(path), ":", first, ": ", blank, " example(s) without any text, this the first; they are kept"));
  }
}

}  // namespace bertx::data
