#include "text/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/json.h"
#include "text/utf8.h"

namespace bertx::wordpiece {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxVocabularyBytes = 64u << 20;
constexpr std::size_t kMaxTokenBytes = 1u << 16;
constexpr int kMostWordChars = 10'000;

// The classes of Hugging Face that are WordPiece as BERT has it (with or without "Fast").
constexpr std::string_view kWordPieceClasses[] = {"BertTokenizer",
                                                  "DistilBertTokenizer",
                                                  "ElectraTokenizer",
                                                  "MobileBertTokenizer",
                                                  "ConvBertTokenizer",
                                                  "LayoutLMTokenizer",
                                                  "SqueezeBertTokenizer",
                                                  "RetriBertTokenizer",
                                                  "FunnelTokenizer",
                                                  "LxmertTokenizer",
                                                  "RealmTokenizer",
                                                  "PreTrainedTokenizer",
                                                  "TokenizersBackend",
                                                  "DPRContextEncoderTokenizer",
                                                  "DPRQuestionEncoderTokenizer"};

// How each special token is called in Hugging Face's files.
struct Role {
  const char* key;
  std::string SpecialTokens::*name;
};
constexpr Role kRoles[] = {{"unk_token", &SpecialTokens::unk},
                           {"cls_token", &SpecialTokens::cls},
                           {"sep_token", &SpecialTokens::sep},
                           {"pad_token", &SpecialTokens::pad},
                           {"mask_token", &SpecialTokens::mask}};

// A token in these files is its text, or an object with the text as "content" and flags beside it.
std::string token_text(const json& value, const std::string& where, std::vector<std::string>& warnings) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) {
    fail(ErrorKind::bad_input, where, ": found ", json_found(value), "; expected a text or an object with \"content\"");
  }
  const JsonObject object(value, where);
  const std::string content = object.string("content");
  for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
    if (object.boolean(flag, false)) {
      warnings.push_back(text(where, ": \"", flag, "\" of ", quote(content), " is not supported and ignored"));
    }
  }
  return content;
}

// What the files say so far, later ones over earlier ones.
class Reader {
 public:
  explicit Reader(const fs::path& directory) : directory_(directory) {}

  TokenizerFiles read() {
    const fs::path vocabulary = directory_ / "vocab.txt", tokenizer = directory_ / "tokenizer.json";
    const bool has_vocabulary = exists(vocabulary), has_tokenizer = exists(tokenizer);
    if (!has_vocabulary && !has_tokenizer) {
      fail(ErrorKind::io, directory_.string(), ": neither vocab.txt nor tokenizer.json is there");
    }
    files_.source = (has_vocabulary ? vocabulary : tokenizer).string();
    if (has_vocabulary) files_.vocabulary = read_vocabulary(vocabulary, files_.warnings);
    if (has_tokenizer) read_tokenizer_json(tokenizer, has_vocabulary);
    if (const fs::path path = directory_ / "special_tokens_map.json"; exists(path)) read_special_tokens(path);
    if (const fs::path path = directory_ / "tokenizer_config.json"; exists(path)) read_config(path);
    return std::move(files_);
  }

 private:
  static bool exists(const fs::path& path) {
    std::error_code error;
    return fs::exists(fs::status(path, error));
  }

  void read_tokenizer_json(const fs::path& path, bool has_vocabulary);
  void read_model(const JsonObject& model, bool has_vocabulary, const std::string& where);
  void read_config(const fs::path& path);
  void read_special_tokens(const fs::path& path);
  void read_roles(const json& root, const std::string& where);
  void add_token(std::int64_t id, const json& value, const std::string& where);
  void add_special(const std::string& token, const std::string& where);

  fs::path directory_;
  TokenizerFiles files_;
};

// The type of a component of tokenizer.json, which must be the one that BERT's tokenizer has.
JsonObject component(const JsonObject& root, const char* key, const char* expected, const std::string& where) {
  const json* found = root.find(key);
  if (found == nullptr || !found->is_object()) {
    fail(ErrorKind::bad_input, where, ": ", key, ": found ", found == nullptr ? "nothing" : json_found(*found),
         "; expected an object of type ", expected);
  }
  JsonObject object(*found, where + ": " + key);
  if (const std::string type = object.string("type", expected); type != expected) {
    fail(ErrorKind::bad_input, where, ": ", key, ".type: found ", quote(type), "; expected \"", expected,
         "\" (only BERT's WordPiece tokenizer is supported)");
  }
  return object;
}

void Reader::read_tokenizer_json(const fs::path& path, bool has_vocabulary) {
  const std::string where = path.string();
  const json root = parse_json_file(path, kMaxVocabularyBytes);
  if (!root.is_object()) fail(ErrorKind::bad_input, where, ": found ", json_found(root), "; expected an object");
  const JsonObject object(root, where);
  read_model(component(object, "model", "WordPiece", where), has_vocabulary, where);

  const JsonObject normalizer = component(object, "normalizer", "BertNormalizer", where);
  if (!normalizer.boolean("clean_text", true)) normalizer.fail_at("clean_text", "true");
  files_.options.lowercase = normalizer.boolean("lowercase", true);
  files_.options.chinese_chars = normalizer.boolean("handle_chinese_chars", true);
  if (normalizer.has("strip_accents")) files_.options.strip_accents = normalizer.boolean("strip_accents", true);
  component(object, "pre_tokenizer", "BertPreTokenizer", where);

  if (const json* added = object.find("added_tokens"); added != nullptr && !added->is_null()) {
    if (!added->is_array()) object.fail_at("added_tokens", "an array");
    for (const json& token : *added) {
      const std::string at = where + ": added_tokens";
      if (!token.is_object()) fail(ErrorKind::bad_input, at, ": found ", json_found(token), "; expected objects");
      add_token(JsonObject(token, at).integer("id", 0, INT32_MAX), token, at);
    }
  }
}

// The vocabulary of tokenizer.json: taken where there is no vocab.txt, compared where there is one.
void Reader::read_model(const JsonObject& model, bool has_vocabulary, const std::string& where) {
  if (const std::string mark = model.string("continuing_subword_prefix", "##"); mark != "##") {
    model.fail_at("continuing_subword_prefix", "\"##\"");
  }
  files_.options.special.unk = model.string("unk_token", "[UNK]");
  files_.options.max_word_chars = static_cast<int>(model.integer("max_input_chars_per_word", 100, 1, kMostWordChars));
  const json& vocabulary = model.at("vocab");
  if (!vocabulary.is_object()) model.fail_at("vocab", "an object of tokens and ids");

  const auto size = static_cast<std::int64_t>(vocabulary.size());
  std::vector<std::string> tokens(vocabulary.size());
  std::vector<bool> seen(vocabulary.size());
  for (const auto& [token, value] : vocabulary.items()) {
    const std::string at = where + ": model.vocab[" + quote(token) + "]";
    const std::int64_t id = json_integer(value, at, 0, INT32_MAX);
    if (has_vocabulary) {
      const auto& lines = files_.vocabulary;
      if (id >= std::ssize(lines) || lines[static_cast<std::size_t>(id)] != token) {
        fail(ErrorKind::bad_input, at, ": found id ", id, ", but vocab.txt has ",
             id >= std::ssize(lines) ? text("only ", lines.size(), " lines")
                                     : text(quote(lines[static_cast<std::size_t>(id)]), " there"),
             "; expected both files to agree");
      }
      continue;
    }
    if (id >= size) {
      fail(ErrorKind::bad_input, at, ": found id ", id, " in a vocabulary of ", size,
           " tokens; expected ids from 0 without a gap");
    }
    if (seen[static_cast<std::size_t>(id)]) {
      fail(ErrorKind::bad_input, at, ": id ", id, " is also that of ", quote(tokens[static_cast<std::size_t>(id)]),
           "; expected one token an id");
    }
    seen[static_cast<std::size_t>(id)] = true;
    tokens[static_cast<std::size_t>(id)] = token;
  }
  if (!has_vocabulary) files_.vocabulary = std::move(tokens);
}

void Reader::read_config(const fs::path& path) {
  const std::string where = path.string();
  const json root = parse_json_file(path);
  if (!root.is_object()) fail(ErrorKind::bad_input, where, ": found ", json_found(root), "; expected an object");
  const JsonObject object(root, where);
  auto& options = files_.options;

  if (std::string type = object.string("tokenizer_class", "BertTokenizer"); !type.empty()) {
    if (type.ends_with("Fast")) type.resize(type.size() - 4);
    if (std::ranges::find(kWordPieceClasses, type) == std::end(kWordPieceClasses)) {
      object.fail_at("tokenizer_class", "a tokenizer that is BERT's WordPiece, such as \"BertTokenizer\"");
    }
  }
  options.lowercase = object.boolean("do_lower_case", options.lowercase);
  options.chinese_chars = object.boolean("tokenize_chinese_chars", options.chinese_chars);
  if (object.has("strip_accents")) options.strip_accents = object.boolean("strip_accents", true);
  if (!object.boolean("do_basic_tokenize", true)) {
    files_.warnings.push_back(text(where, ": \"do_basic_tokenize\": false is ignored, as the fast tokenizer does"));
  }
  // "No limit" is written as 1e30.
  const double most = object.number("model_max_length", 0, 0, 1e300, "a number of tokens");
  options.model_max_length = most < 1e9 ? static_cast<int>(most) : 0;

  if (const json* added = object.find("added_tokens_decoder"); added != nullptr && !added->is_null()) {
    if (!added->is_object()) object.fail_at("added_tokens_decoder", "an object of ids and tokens");
    std::vector<std::pair<std::int64_t, const json*>> tokens;  // by id: the keys order as text
    for (const auto& [key, value] : added->items()) {
      const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
      if (!digits) {
        fail(ErrorKind::bad_input, where, ": added_tokens_decoder: found the key ", quote(key),
             "; expected a token id");
      }
      tokens.emplace_back(std::stoll(key), &value);
    }
    std::ranges::sort(tokens);
    for (const auto& [id, value] : tokens) add_token(id, *value, where + ": added_tokens_decoder");
  }
  read_roles(root, where);
}

void Reader::read_special_tokens(const fs::path& path) {
  const std::string where = path.string();
  const json root = parse_json_file(path);
  if (!root.is_object()) fail(ErrorKind::bad_input, where, ": found ", json_found(root), "; expected an object");
  read_roles(root, where);
}

// unk_token and its like, and additional_special_tokens.
void Reader::read_roles(const json& root, const std::string& where) {
  for (const Role& role : kRoles) {
    const auto found = root.find(role.key);
    if (found == root.end() || found->is_null()) continue;
    files_.options.special.*role.name = token_text(*found, where + ": " + role.key, files_.warnings);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {  // the latter may be an object
    const auto more = root.find(key);
    if (more == root.end() || more->is_null()) continue;
    const std::string at = where + ": " + key;
    if (!more->is_structured()) fail(ErrorKind::bad_input, at, ": found ", json_found(*more), "; expected an array");
    for (const json& token : *more) add_special(token_text(token, at, files_.warnings), at);
  }
}

// A token with an id: one of the vocabulary, or the next one behind it.
void Reader::add_token(std::int64_t id, const json& value, const std::string& where) {
  const std::string token = token_text(value, where, files_.warnings);
  auto& tokens = files_.vocabulary;
  if (id == std::ssize(tokens)) {
    tokens.push_back(token);
  } else if (id > std::ssize(tokens)) {
    fail(ErrorKind::bad_input, where, ": ", quote(token), " has id ", id, ", but the vocabulary before it has ",
         tokens.size(), " tokens; expected ids without a gap");
  } else if (tokens[static_cast<std::size_t>(id)] != token) {
    fail(ErrorKind::bad_input, where, ": ", quote(token), " has id ", id, ", which is ",
         quote(tokens[static_cast<std::size_t>(id)]), " in ", files_.source, "; expected both to agree");
  }
  if (!value.is_object()) return;
  const JsonObject object(value, where);
  if (!object.boolean("special", true) && object.boolean("normalized", true)) {
    files_.warnings.push_back(text(where, ": ", quote(token), " is matched as it is spelt, not after normalization"));
  }
  add_special(token, where);
}

void Reader::add_special(const std::string& token, const std::string& where) {
  if (token.empty()) fail(ErrorKind::bad_input, where, ": found an empty token; expected a text");
  const SpecialTokens standard;
  for (const Role& role : kRoles) {
    if (token == standard.*role.name) return;
  }
  auto& more = files_.options.additional_special_tokens;
  if (std::ranges::find(more, token) == more.end()) more.push_back(token);
}

}  // namespace

TokenizerFiles read_tokenizer_files(const fs::path& directory) { return Reader(directory).read(); }

std::vector<std::string> read_vocabulary(const fs::path& path, std::vector<std::string>& warnings) {
  const std::string bytes = read_text_file(path, kMaxVocabularyBytes);
  const std::string where = path.string();
  std::string_view rest = bytes;
  if (rest.starts_with("\xEF\xBB\xBF")) {
    rest.remove_prefix(3);
    warnings.push_back(where + ": begins with a byte order mark, which is skipped");
  }
  std::vector<std::string> tokens;
  tokens.reserve(static_cast<std::size_t>(std::ranges::count(rest, '\n')) + 1);
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), end == std::string_view::npos ? end : end + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto refuse = [&](const auto&... found) {
      fail(ErrorKind::bad_input, where, ":", tokens.size() + 1, ": ", found...);
    };
    if (line.size() > kMaxTokenBytes) {
      refuse("found a line of ", line.size(), " bytes; expected a token of at most ", kMaxTokenBytes);
    }
    if (const std::size_t at = find_malformed_utf8(line); at != std::string_view::npos) {
      refuse("found invalid UTF-8 at byte ", at + 1, " of the line; expected UTF-8");
    }
    if (line.find('\0') != std::string_view::npos) refuse("found a NUL byte; expected text in UTF-8");
    tokens.emplace_back(line);
  }
  while (!tokens.empty() && tokens.back().empty()) tokens.pop_back();
  if (const auto blank = std::ranges::find(tokens, ""); blank != tokens.end()) {
    warnings.push_back(text(where, ":", blank - tokens.begin() + 1, ": a blank line; its id stands for no token"));
  }
  return tokens;
}

void write_tokenizer_files(const fs::path& directory, const std::vector<std::string>& vocabulary,
                           const TokenizerOptions& options) {
  std::string lines;
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    if (vocabulary[i].find_first_of("\r\n") != std::string::npos) {
      fail(ErrorKind::bad_input, "token ", i, " holds a line break, which vocab.txt cannot hold");
    }
    (lines += vocabulary[i]) += '\n';
  }
  json config = {{"tokenizer_class", "BertTokenizer"},
                 {"do_lower_case", options.lowercase},
                 {"tokenize_chinese_chars", options.chinese_chars},
                 {"strip_accents", options.strip_accents ? json(*options.strip_accents) : json(nullptr)}};
  if (options.model_max_length > 0) config["model_max_length"] = options.model_max_length;
  json map = json::object();
  for (const Role& role : kRoles) {
    if (std::ranges::find(vocabulary, options.special.*role.name) != vocabulary.end()) {
      map[role.key] = options.special.*role.name;
    }
  }
  if (!options.additional_special_tokens.empty()) map["additional_special_tokens"] = options.additional_special_tokens;
  config.update(map);
  write_text_file(directory / "vocab.txt", lines);
  write_text_file(directory / "tokenizer_config.json", config.dump(2) + "\n");
  write_text_file(directory / "special_tokens_map.json", map.dump(2) + "\n");
}

}  // namespace bertx::wordpiece
