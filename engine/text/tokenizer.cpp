#include "bertx/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "bertx/error.h"
#include "bertx/files.h"
#include "text/piece_encoder.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace bertx {

using wordpiece::PieceEncoder;
using wordpiece::PieceModel;
using wordpiece::Pieces;
using wordpiece::TokenizerFiles;

struct Tokenizer::Impl {
  explicit Impl(TokenizerFiles files);

  Pieces pieces(std::string_view text, bool offsets, std::size_t limit) const;
  Encoding encode(const TextView& text, int max_length, bool offsets) const;
  void require(const std::string& source, const char* role, const std::string& name, int& id) const;

  TokenizerOptions options;
  std::vector<std::string> warnings;
  PieceModel model;
  int unk, cls, sep, pad, mask;
  mutable std::atomic<bool> split_hangul{false};  // a text had Hangul syllables, and they were taken apart
};

namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();
constexpr int kMostWordChars = 10'000;

void check(const TokenizerFiles& files) {
  if (files.options.max_word_chars < 0 || files.options.max_word_chars > kMostWordChars) {
    fail(ErrorKind::usage, "TokenizerOptions.max_word_chars is ", files.options.max_word_chars,
         "; expected 0 (the default) to ", kMostWordChars);
  }
  if (files.vocabulary.empty()) fail(ErrorKind::bad_input, files.source, ": no tokens; expected one token a line");
  for (std::size_t i = 0; i < files.vocabulary.size(); ++i) {
    if (wordpiece::find_malformed_utf8(files.vocabulary[i]) != std::string::npos) {
      fail(ErrorKind::bad_input, files.source, ": token ", i, " is not UTF-8");
    }
  }
}

// How many tokens of each text stay when both may take `budget`: the longer one is cut first, and an odd token goes
// to the longer one.
std::pair<std::size_t, std::size_t> longest_first(std::size_t first, std::size_t second, std::size_t budget) {
  if (first + second <= budget) return {first, second};
  const bool swapped = first > second;
  const std::size_t shorter = std::min(std::min(first, second), budget / 2), longer = budget - shorter;
  return swapped ? std::pair(longer, shorter) : std::pair(shorter, longer);
}

}  // namespace

Tokenizer::Impl::Impl(TokenizerFiles files)
    : options((check(files), files.options)),
      warnings(std::move(files.warnings)),
      model(std::move(files.vocabulary), options, warnings) {
  require(files.source, "unknown words", options.special.unk, unk);
  require(files.source, "the beginning", options.special.cls, cls);
  require(files.source, "the end", options.special.sep, sep);
  pad = model.vocabulary.find(options.special.pad).value_or(-1);
  mask = model.vocabulary.find(options.special.mask).value_or(-1);

  if (!model.strip_accents) return;
  const auto has_syllable = [](const std::string& token) {
    for (const char *p = token.data(), *end = p + token.size(); p != end;) {
      if (static_cast<unsigned char>(*p) < 0xEA) {
        ++p;
        continue;
      }
      const std::uint32_t code = wordpiece::decode_utf8(p, end);
      if (code >= 0xAC00 && code <= 0xD7A3) return true;
    }
    return false;
  };
  const auto unreachable = std::ranges::count_if(model.vocabulary.tokens(), has_syllable);
  if (unreachable > 0) {
    warnings.push_back(text(files.source, ": ", unreachable,
                            " tokens hold Hangul syllables, which no text can "
                            "reach: lower-casing takes syllables apart into letters; is this a cased vocabulary "
                            "(\"do_lower_case\": false)?"));
  }
}

void Tokenizer::Impl::require(const std::string& source, const char* role, const std::string& name, int& id) const {
  const auto found = model.vocabulary.find(name);
  if (!found) fail(ErrorKind::bad_input, source, ": no token ", quote(name), "; expected one for ", role);
  id = *found;
}

Pieces Tokenizer::Impl::pieces(std::string_view text, bool offsets, std::size_t limit) const {
  Pieces out;
  out.ids.reserve(std::min(limit, text.size() / 4) + 8);
  PieceEncoder encoder(model, out, offsets, limit);
  encoder.run(text);
  if (encoder.split_hangul()) split_hangul.store(true, std::memory_order_relaxed);
  return out;
}

Encoding Tokenizer::Impl::encode(const TextView& text, int max_length, bool offsets) const {
  const int specials = text.second ? 3 : 2;
  if (max_length != 0 && max_length < specials) {
    fail(ErrorKind::usage, "max_length is ", max_length, "; expected 0 (no limit) or at least ", specials, " for ",
         text.second ? "[CLS] first [SEP] second [SEP]" : "[CLS] text [SEP]");
  }
  const std::size_t budget = max_length == 0 ? kNoLimit : static_cast<std::size_t>(max_length - specials);
  Pieces first = pieces(text.first, offsets, text.second ? kNoLimit : budget), second;
  if (text.second) second = pieces(*text.second, offsets, kNoLimit);
  const auto [first_size, second_size] = longest_first(first.ids.size(), second.ids.size(), budget);

  Encoding out;
  const std::size_t size = first_size + second_size + static_cast<std::size_t>(specials);
  out.ids.reserve(size);
  out.type_ids.assign(size, 0);
  if (offsets) out.offsets.reserve(size);
  const auto add_special = [&](int id) {
    out.ids.push_back(id);
    if (offsets) out.offsets.emplace_back(0, 0);
  };
  const auto add = [&](const Pieces& from, std::size_t count) {
    const auto end = static_cast<std::ptrdiff_t>(count);
    out.ids.insert(out.ids.end(), from.ids.begin(), from.ids.begin() + end);
    if (offsets) out.offsets.insert(out.offsets.end(), from.offsets.begin(), from.offsets.begin() + end);
    add_special(sep);
  };
  add_special(cls);
  add(first, first_size);
  if (text.second) {
    std::fill(out.type_ids.begin() + static_cast<std::ptrdiff_t>(out.ids.size()), out.type_ids.end(), 1);
    add(second, second_size);
  }
  return out;
}

Tokenizer Tokenizer::load(const std::filesystem::path& model_directory) {
  Tokenizer tokenizer;
  tokenizer.impl_ = std::make_shared<const Impl>(wordpiece::read_tokenizer_files(model_directory));
  return tokenizer;
}

Tokenizer::Tokenizer(std::vector<std::string> vocabulary, TokenizerOptions options) {
  TokenizerFiles files;
  files.vocabulary = std::move(vocabulary);
  files.options = std::move(options);
  impl_ = std::make_shared<const Impl>(std::move(files));
}

Encoding Tokenizer::encode(std::string_view text, int max_length, bool offsets) const {
  return impl_->encode({text, {}}, max_length, offsets);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second, int max_length, bool offsets) const {
  return impl_->encode({first, second}, max_length, offsets);
}

Encoding Tokenizer::encode(const TextView& text, int max_length, bool offsets) const {
  return impl_->encode(text, max_length, offsets);
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const TextView> texts, int max_length, int threads,
                                              bool offsets) const {
  constexpr std::size_t kGrain = 16;
  std::vector<Encoding> out(texts.size());
  std::atomic<std::size_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto work = [&] {
    try {
      for (std::size_t first; (first = next.fetch_add(kGrain)) < texts.size();) {
        for (std::size_t i = first; i < std::min(first + kGrain, texts.size()); ++i) {
          out[i] = impl_->encode(texts[i], max_length, offsets);
        }
      }
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      error = std::current_exception();
    }
  };
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::size_t helpers = std::min<std::size_t>(threads, (texts.size() + kGrain - 1) / kGrain);
  {
    std::vector<std::jthread> pool;
    for (std::size_t i = 1; i < helpers; ++i) pool.emplace_back(work);
    work();
  }
  if (error) std::rethrow_exception(error);
  return out;
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string> texts, int max_length, int threads,
                                              bool offsets) const {
  std::vector<TextView> views;
  views.reserve(texts.size());
  for (const std::string& text : texts) views.push_back({text, {}});
  return encode_batch(std::span<const TextView>(views), max_length, threads, offsets);
}

int Tokenizer::size() const { return impl_->model.vocabulary.size(); }

std::string_view Tokenizer::token(int id) const {
  assert(id >= 0 && id < size());
  return impl_->model.vocabulary.tokens()[static_cast<std::size_t>(id)];
}

std::optional<int> Tokenizer::id(std::string_view token) const { return impl_->model.vocabulary.find(token); }

int Tokenizer::unk_id() const { return impl_->unk; }
int Tokenizer::cls_id() const { return impl_->cls; }
int Tokenizer::sep_id() const { return impl_->sep; }
int Tokenizer::pad_id() const { return impl_->pad; }
int Tokenizer::mask_id() const { return impl_->mask; }

bool Tokenizer::is_special(int id) const {
  return id >= 0 && (id == unk_id() || id == cls_id() || id == sep_id() || id == pad_id() || id == mask_id());
}

int Tokenizer::model_max_length() const { return impl_->options.model_max_length; }
const TokenizerOptions& Tokenizer::options() const { return impl_->options; }

std::vector<std::string> Tokenizer::warnings() const {
  std::vector<std::string> all = impl_->warnings;
  if (impl_->split_hangul.load(std::memory_order_relaxed)) {
    all.emplace_back(
        "a text holds Hangul, and the vocabulary is uncased: lower-casing with accents stripped takes "
        "syllables apart into letters (multilingual and Korean models want \"do_lower_case\": false)");
  }
  return all;
}

void Tokenizer::save(const std::filesystem::path& directory) const {
  wordpiece::write_tokenizer_files(directory, impl_->model.vocabulary.tokens(), impl_->options);
}

}  // namespace bertx
