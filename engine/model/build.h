// Puts a model together from its configuration; where the numbers come from is the caller's affair.
#pragma once

#include <memory>
#include <string>

#include "bertx/model.h"

namespace bertx {

enum class Initial { normal, zero, one };

/// Where a model's numbers come from: a random generator, or a checkpoint.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  /// The parameter [rows, cols] of this name, with its value filled.
  virtual std::shared_ptr<Parameter> parameter(const std::string& path, std::int64_t rows, std::int64_t cols,
                                               Initial initial) = 0;
  /// The weight of a linear map [out, in], in whatever representation the source has it.
  virtual std::shared_ptr<LinearWeight> weight(const std::string& path, std::int64_t out, std::int64_t in) = 0;
  /// The columns of the first factor where the word embeddings of this name are a product; 0: they are one table.
  virtual std::int64_t embedding_rank(const std::string& path) = 0;
  /// Whether a bare encoder comes with a pooler.
  virtual bool has_pooler() = 0;
};

/// Random numbers that depend on (seed, path) alone, not on the order of calls.
class RandomSource final : public ParameterSource {
 public:
  RandomSource(Backend& backend, float range, std::uint64_t seed) : backend_(backend), range_(range), seed_(seed) {}
  std::shared_ptr<Parameter> parameter(const std::string& path, std::int64_t rows, std::int64_t cols,
                                       Initial initial) override;
  std::shared_ptr<LinearWeight> weight(const std::string& path, std::int64_t out, std::int64_t in) override;
  std::int64_t embedding_rank(const std::string&) override { return 0; }
  bool has_pooler() override { return true; }

 private:
  Backend& backend_;
  float range_;
  std::uint64_t seed_;
};

Model build_model(Backend& backend, const Config& config, ParameterSource& source);

/// The word embeddings as the decoder of a masked LM, [vocab, H]: the same parameters.
std::shared_ptr<LinearWeight> tied_decoder(const Embeddings& embeddings);

}  // namespace bertx
