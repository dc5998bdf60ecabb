// The texts that a model is timed with: how long each one is, and random ids for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bertx/batch.h"
#include "bertx/config.h"

namespace bertx::tools {

/// The texts of one pass.
struct Texts {
  std::vector<std::int64_t> lengths;
  std::string kind = "equal";  ///< "equal" | "ragged" | "padded": the ragged ones, each as long as the longest

  std::int64_t count() const { return static_cast<std::int64_t>(lengths.size()); }
  std::int64_t tokens() const;
  std::int64_t longest() const;
  double mean() const;
  std::string description() const;  ///< "8 x 128", "8 x 76.8 (to 128)", "8 x 128 padded"
};

Texts equal_texts(std::int64_t count, std::int64_t length);
/// The same texts as a runtime without ragged batches computes them.
Texts padded(const Texts& ragged);

/// --lengths: "MEAN,MAX" or a file with one length a line (empty lines are skipped). `count` texts are drawn for
/// MEAN,MAX: longest * u^(MAX/MEAN - 1) with uniform u, so that their mean is MEAN; one is MAX long. Of a file every
/// line is a text. No length may exceed `positions`. Throws Error(usage) for a distribution that cannot be,
/// Error(bad_input) naming file and line.
Texts ragged_texts(const std::string& lengths, std::int64_t count, std::int64_t positions, std::uint64_t seed);
/// `lengths` is MEAN,MAX, not a file.
bool is_distribution(const std::string& lengths);

/// Random ids, and random labels where the head is trained with some.
Batch random_batch(const Config& config, const Texts& texts, std::uint64_t seed, bool labelled);

}  // namespace bertx::tools
