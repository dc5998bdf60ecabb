// bertx tokenize: lines in, {"ids": …, "type_ids": …} out.
#include <algorithm>
#include <string>
#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/tokenizer.h"
#include "commands.h"
#include "common/json_line.h"
#include "common/log.h"
#include "common/output.h"
#include "common/run_options.h"
#include "common/text_lines.h"

namespace bertx::tools {
namespace {

struct TokenizeOptions {
  RunOptions run;
  std::string model, input = "-";
  std::int64_t max_length = 0;
  bool pair = false, offsets = false, google = false;
};

Flags declare(TokenizeOptions& options) {
  Flags flags("tokenize", "token ids of texts, one text a line in, one JSON line out");
  flags.group("Tokenizing")
      .text("model_name_or_path", &options.model, "DIR", "directory (or cached Hub name) with the vocabulary")
      .alias("model")
      .text("input", &options.input, "FILE", "lines of text; -: standard input")
      .integer("max_length", &options.max_length, 0, 1 << 20, "tokens, [CLS] and [SEP] included; 0: no limit")
      .toggle("pair", &options.pair, "a line holds two texts with a tab between them")
      .toggle("offsets", &options.offsets, "add where each token stands in its text, in characters")
      .toggle("google", &options.google, "as Google's original tokenizer instead of Hugging Face's");
  add_run_flags(flags, options.run);
  flags.example("echo 'A fine day.' | bertx tokenize --model_name_or_path bert-base-uncased", "one text");
  return flags;
}

/// The same vocabulary with Google's rules.
Tokenizer google_mode(const Tokenizer& tokenizer) {
  std::vector<std::string> vocabulary;
  for (int id = 0; id < tokenizer.size(); ++id) vocabulary.emplace_back(tokenizer.token(id));
  TokenizerOptions options = tokenizer.options();
  options.google = true;
  options.max_word_chars = 0;
  return Tokenizer(std::move(vocabulary), std::move(options));
}

std::string json_of(const Encoding& encoding, bool offsets) {
  JsonLine line;
  line.integers("ids", encoding.ids).integers("type_ids", encoding.type_ids);
  if (!offsets) return line.str();
  std::string pairs;
  for (const auto& [begin, end] : encoding.offsets) pairs += text(pairs.empty() ? "[" : ", [", begin, ", ", end, "]");
  return line.raw("offsets", "[" + pairs + "]").str();
}

}  // namespace

int tokenize_command(const Arguments& arguments) {
  // 1. Flags.
  TokenizeOptions options;
  Flags flags = declare(options);
  if (!flags.parse(arguments)) return 0;
  require(options.model, "model_name_or_path", "a directory with a vocabulary, or a cached Hub name");
  if (options.max_length != 0 && options.max_length < (options.pair ? 3 : 2)) {
    fail(ErrorKind::usage, "--max_length: found ", options.max_length, "; expected at least ", options.pair ? 3 : 2,
         " for [CLS] and [SEP]");
  }
  apply_run_options(options.run);

  // 2. The tokenizer.
  Tokenizer tokenizer = Tokenizer::load(resolve_model_directory(options.model));
  if (options.google) tokenizer = google_mode(tokenizer);

  // 3. Lines, as many at a time as are there.
  LineReader reader(options.input);
  Output out;
  TextLines lines;
  while (lines.read(reader, 1024, options.pair ? Pairs::required : Pairs::none)) {
    const auto encodings = tokenizer.encode_batch(lines.views(), static_cast<int>(options.max_length),
                                                  static_cast<int>(options.run.threads), options.offsets);
    for (const Encoding& encoding : encodings) out.line(json_of(encoding, options.offsets));
    out.flush();
  }
  for (const std::string& warning : tokenizer.warnings()) log(LogLevel::warning, warning);
  return 0;
}

}  // namespace bertx::tools
