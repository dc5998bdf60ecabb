#include "bench/lengths.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "bertx/error.h"
#include "bertx/files.h"
#include "common/output.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

struct Distribution {
  double mean;
  std::int64_t longest;
};

std::optional<Distribution> parse_distribution(const std::string& lengths) {
  const std::size_t comma = lengths.find(',');
  if (comma == std::string::npos) return std::nullopt;
  const auto mean = parse_double(std::string_view(lengths).substr(0, comma));
  const auto longest = parse_int(std::string_view(lengths).substr(comma + 1));
  if (!mean || !longest) return std::nullopt;
  return Distribution{*mean, *longest};
}

/// `count` lengths in [1, longest] whose sum is mean * count to the nearest token.
std::vector<std::int64_t> drawn_lengths(const Distribution& wanted, std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const double most = static_cast<double>(wanted.longest), power = most / wanted.mean - 1;
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(count));
  for (std::int64_t& length : lengths) {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    length = std::clamp<std::int64_t>(std::llround(most * std::pow(u, power)), 1, wanted.longest);
  }
  std::iter_swap(lengths.begin(), std::ranges::max_element(lengths));
  lengths.front() = wanted.longest;
  // A small sample misses the mean: the others are moved by a token at a time, in turn, until it is met.
  std::int64_t missing = std::llround(wanted.mean * static_cast<double>(count)) -
                         std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  for (std::size_t i = 1; missing != 0; i = i + 1 < lengths.size() ? i + 1 : 1) {
    const std::int64_t step = missing > 0 ? 1 : -1, moved = lengths[i] + step;
    if (moved < 1 || moved > wanted.longest) continue;
    lengths[i] = moved;
    missing -= step;
  }
  for (std::size_t i = lengths.size(); i > 1; --i) std::swap(lengths[i - 1], lengths[random() % i]);
  return lengths;
}

std::vector<std::int64_t> read_lengths(const std::string& path, std::int64_t positions) {
  LineReader reader(path);
  std::vector<std::int64_t> lengths;
  for (std::string line; reader.next(line);) {
    if (line.empty()) continue;
    const auto length = parse_int(line);
    if (!length || *length < 1 || *length > positions) {
      fail(ErrorKind::bad_input, reader.name(), ", line ", reader.line_number(), ": found ", quote(line),
           "; expected the length of a text, a whole number from 1 to ", positions);
    }
    lengths.push_back(*length);
  }
  if (lengths.empty()) fail(ErrorKind::bad_input, reader.name(), ": found no lengths; expected one a line");
  return lengths;
}

}  // namespace

std::int64_t Texts::tokens() const { return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}); }
std::int64_t Texts::longest() const { return *std::ranges::max_element(lengths); }
double Texts::mean() const { return static_cast<double>(tokens()) / static_cast<double>(count()); }

std::string Texts::description() const {
  const std::string begin = text(count(), " x ");
  if (kind == "ragged") return text(begin, fixed(mean(), 1), " (to ", longest(), ")");
  return begin + std::to_string(longest()) + (kind == "padded" ? " padded" : "");
}

Texts equal_texts(std::int64_t count, std::int64_t length) {
  return {std::vector<std::int64_t>(static_cast<std::size_t>(count), length)};
}

Texts padded(const Texts& ragged) {
  Texts out = equal_texts(ragged.count(), ragged.longest());
  out.kind = "padded";
  return out;
}

bool is_distribution(const std::string& lengths) { return parse_distribution(lengths).has_value(); }

Texts ragged_texts(const std::string& lengths, std::int64_t count, std::int64_t positions, std::uint64_t seed) {
  const auto wanted = parse_distribution(lengths);
  if (!wanted) return {read_lengths(lengths, positions), "ragged"};
  const auto& [mean, longest] = *wanted;
  if (longest < 1 || longest > positions) {
    fail(ErrorKind::usage, "--lengths: found a maximum of ", longest, "; expected 1 to ", positions,
         ", the positions of the model");
  }
  // One text is the longest; all others have a token at least.
  const double least = static_cast<double>(longest + count - 1) / static_cast<double>(count);
  if (!(mean >= least && mean <= static_cast<double>(longest))) {
    fail(ErrorKind::usage, "--lengths: found a mean of ", number_text(mean), "; with a --batch of ", count,
         " texts, one of them ", longest, " tokens long, expected ", fixed(least, 1), " to ", longest);
  }
  if (count == 1) return {{longest}, "ragged"};
  return {drawn_lengths(*wanted, count, seed), "ragged"};
}

Batch random_batch(const Config& config, const Texts& texts, std::uint64_t seed, bool labelled) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(n));
  };
  Batch batch;
  batch.starts.push_back(0);
  for (const std::int64_t length : texts.lengths) {
    for (std::int64_t t = 0; t < length; ++t) batch.ids.push_back(below(config.vocab));
    batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  batch.types.assign(batch.ids.size(), 0);
  if (!labelled) return batch;

  const auto outputs = static_cast<std::int64_t>(config.labels.size());
  switch (config.head) {
    case HeadKind::sequence_classification:
      if (config.problem == ProblemKind::single_label) {
        for (std::int64_t b = 0; b < texts.count(); ++b) batch.labels.push_back(below(outputs));
      } else {
        for (std::int64_t i = 0; i < outputs * texts.count(); ++i) {
          batch.targets.push_back(static_cast<float>(below(2)));
        }
      }
      break;
    case HeadKind::token_classification:
      for (std::int64_t t = 0; t < batch.tokens(); ++t) batch.labels.push_back(below(outputs));
      break;
    case HeadKind::masked_lm:  // three of twenty tokens are to be found, as in BERT's pretraining
      for (std::int64_t t = 0; t < batch.tokens(); ++t) {
        batch.labels.push_back(below(20) < 3 ? below(config.vocab) : -100);
      }
      break;
    case HeadKind::question_answering:
      for (int part = 0; part < 2; ++part) {
        for (const std::int64_t length : texts.lengths) batch.labels.push_back(below(length));
      }
      break;
    case HeadKind::none: break;
  }
  return batch;
}

}  // namespace bertx::tools
