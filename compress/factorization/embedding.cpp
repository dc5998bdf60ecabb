// The word embeddings [vocab, H] as a product [vocab, E] [E, H], ALBERT's form (Lan et al. 2020, 1909.11942): fewer
// bytes, as many multiplies but for E · H a token. ALBERT has its LayerNorm before the second factor and is trained so
// from the start; here it stays behind, which is what makes the product of a trained table by truncated SVD possible.
//
// Where texts are given the rows of the table count as often as their words come up in them, and once more, so that
// words that never do keep a say: min Σ_t f_t ‖w_t − w̃_t‖². That is decompose.h's problem for the transposed table
// [H, vocab] with C = diag(f).
#include "bertx/error.h"
#include "calibration/examples.h"
#include "factorization/decompose.h"
#include "factorization/methods.h"

namespace bertx::compress {
namespace {

constexpr std::int64_t albert_rank = 128;

// What there is to keep: a table, or the factors of one.
std::int64_t full_rank(const Embeddings& embeddings) {
  const Tensor word = embeddings.word->tensor();
  if (!embeddings.projection) return std::min(word.rows, word.cols);
  return std::min({word.rows, word.cols, embeddings.projection->tensor().cols});
}

std::int64_t checked_rank(const Embeddings& embeddings, const Recipe& recipe, std::int64_t vocab, std::int64_t hidden) {
  const std::int64_t rank = recipe.rank.value_or(albert_rank), full = full_rank(embeddings);
  if (rank > full) {
    fail(ErrorKind::usage, "rank: found ", rank, ", expected at most ", full,
         ", the full rank of the word embeddings [", vocab, ", ", hidden, "]");
  }
  std::int64_t numbers = embeddings.word->tensor().size();
  if (embeddings.projection) numbers += embeddings.projection->tensor().size();
  const std::int64_t most = numbers / (vocab + hidden);
  if (rank > most && !recipe.allow_slower) {
    fail(ErrorKind::usage, "rank: found ", rank, ", expected at most ", most,
         ": above it the two factors of the word embeddings [", vocab, ", ", hidden,
         "] have more numbers than what they replace (allow_slower takes them)");
  }
  return rank;
}

// [vocab]
Eigen::VectorXd frequencies(const Calibration& calibration, std::int64_t vocab) {
  Eigen::VectorXd counts = Eigen::VectorXd::Ones(vocab);
  for (const EncodedExample& example : calibration.examples) {
    for (const std::int32_t id : example.ids) {
      if (id < 0 || id >= vocab) {
        fail(ErrorKind::usage, "embedding: found a text with token id ", id, ", expected ids below ", vocab);
      }
      counts[id] += 1;
    }
  }
  return counts;
}

}  // namespace

void embedding_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  const Embeddings& embeddings = model.embeddings;
  const std::int64_t vocab = model.config.vocab, hidden = model.config.hidden;
  const std::int64_t rank = checked_rank(embeddings, recipe, vocab, hidden);

  Matrix table = matrix_of(backend, embeddings.word->tensor());
  if (embeddings.projection) table = table * matrix_of(backend, embeddings.projection->tensor());
  const Matrix transposed = table.transpose();
  const Metric metric = diagonal_metric(frequencies(sample(calibration, recipe), vocab));
  const Factors factors = truncate(transposed, decompose(transposed, metric), rank);

  const bool frozen = embeddings.word->frozen;
  const std::shared_ptr<Parameter> word = parameter_of(backend, factors.v.transpose()),
                                   projection = parameter_of(backend, factors.u.transpose());
  word->frozen = projection->frozen = frozen;
  model.factor_word_embeddings(word, projection);
  model.refresh(backend);
}

}  // namespace bertx::compress
