// What a student is compared with: softened distributions, directions, relations between tokens.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/reference/reference.h"

namespace bertx {

using reference::at, reference::index_at;

namespace {

/// log softmax(values / temperature)
std::vector<double> log_softmax(std::vector<double> values, double temperature = 1) {
  for (double& value : values) value /= temperature;
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const double value : values) sum += std::exp(value - largest);
  for (double& value : values) value -= largest + std::log(sum);
  return values;
}

/// KL(exp(target) ‖ exp(found))
double divergence(const std::vector<double>& target, const std::vector<double>& found) {
  double sum = 0;
  for (std::size_t i = 0; i < target.size(); ++i) sum += std::exp(target[i]) * (target[i] - found[i]);
  return sum;
}

std::vector<double> column(Tensor x, std::int64_t j) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < x.rows; ++i) values.push_back(at(x, i, j));
  return values;
}

/// The relations of all tokens of a sequence [first, last) to its token `query`, in one head of `dim` rows from `row`.
std::vector<double> relations(Tensor a, Tensor b, std::int64_t row, std::int64_t dim, std::int64_t first,
                              std::int64_t last, std::int64_t query) {
  std::vector<double> scores;
  for (std::int64_t key = first; key < last; ++key) {
    double sum = 0;
    for (std::int64_t d = row; d < row + dim; ++d) sum += at(b, d, key) * at(a, d, query);
    scores.push_back(sum / std::sqrt(static_cast<double>(dim)));
  }
  return scores;
}

}  // namespace

// logits, targets, dlogits [C, N];  the gradient is temperature · (p - p') / N
double ReferenceBackend::softened_divergence(Tensor logits, Tensor targets, double temperature, double scale,
                                             Tensor dlogits) {
  const double count = static_cast<double>(logits.cols);
  double loss = 0;
  for (std::int64_t n = 0; n < logits.cols && logits.rows > 0; ++n) {
    const std::vector<double> found = log_softmax(column(logits, n), temperature),
                              target = log_softmax(column(targets, n), temperature);
    loss += temperature * temperature * divergence(target, found) / count;
    for (std::int64_t c = 0; c < logits.rows && !dlogits.empty(); ++c) {
      const auto i = static_cast<std::size_t>(c);
      at(dlogits, c, n) = scale / count * temperature * (std::exp(found[i]) - std::exp(target[i]));
    }
  }
  return loss;
}

// x, targets, dx [F, N];  d cos / dx = y / (|x| |y|) - cos x / |x|²
double ReferenceBackend::cosine_distance(Tensor x, Tensor targets, double scale, Tensor dx) {
  const double count = static_cast<double>(x.cols);
  double loss = 0;
  for (std::int64_t n = 0; n < x.cols; ++n) {
    double xx = 0, yy = 0, xy = 0;
    for (std::int64_t i = 0; i < x.rows; ++i) {
      xx += at(x, i, n) * at(x, i, n);
      yy += at(targets, i, n) * at(targets, i, n);
      xy += at(x, i, n) * at(targets, i, n);
    }
    const double norms = std::sqrt(xx * yy), cosine = norms > 0 ? xy / norms : 0;
    loss += (1 - cosine) / count;
    for (std::int64_t i = 0; i < x.rows && !dx.empty(); ++i) {
      at(dx, i, n) = norms > 0 ? scale / count * (cosine * at(x, i, n) / xx - at(targets, i, n) / norms) : 0;
    }
  }
  return loss;
}

// a, b, da, db [H·D, T], teacher_a, teacher_b [H·D', T];  dA = B dS / √D, dB = A dSᵀ / √D
double ReferenceBackend::relation_distance(Comparison comparison, std::int64_t heads, Tensor a, Tensor b,
                                           Tensor teacher_a, Tensor teacher_b, Tensor starts, double scale, Tensor da,
                                           Tensor db) {
  const bool squares = comparison == Comparison::squares;
  double count = 0, loss = 0;
  for (std::int64_t s = 0; s + 1 < starts.cols; ++s) {
    const auto length = static_cast<double>(index_at(starts, s + 1) - index_at(starts, s));
    count += static_cast<double>(heads) * length * (squares ? length : 1);
  }
  for (std::int64_t head = 0; head < heads; ++head) {
    const std::int64_t dim = a.rows / heads, teacher_dim = teacher_a.rows / heads, row = head * dim;
    for (std::int64_t s = 0; s + 1 < starts.cols; ++s) {
      const std::int64_t first = index_at(starts, s), last = index_at(starts, s + 1);
      for (std::int64_t query = first; query < last; ++query) {
        std::vector<double> found = relations(a, b, row, dim, first, last, query),
                            target =
                                relations(teacher_a, teacher_b, head * teacher_dim, teacher_dim, first, last, query);
        if (!squares) {
          found = log_softmax(found), target = log_softmax(target);
          loss += divergence(target, found) / count;
        }
        for (std::int64_t key = first; key < last; ++key) {
          const auto i = static_cast<std::size_t>(key - first);
          const double difference = squares ? found[i] - target[i] : std::exp(found[i]) - std::exp(target[i]);
          if (squares) loss += difference * difference / count;
          const double dscore = scale / count * (squares ? 2 : 1) * difference / std::sqrt(static_cast<double>(dim));
          for (std::int64_t d = row; d < row + dim && !da.empty(); ++d) {
            at(da, d, query) += dscore * at(b, d, key);
            at(db, d, key) += dscore * at(a, d, query);
          }
        }
      }
    }
  }
  return loss;
}

}  // namespace bertx
