// One call of the checked backend: copies of its operands for the oracle, and the comparison of its results.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <list>
#include <vector>

#include "bertx/backend.h"
#include "bertx/error.h"
#include "core/host_memory.h"
#include "core/tolerance.h"

namespace bertx::checked {

inline bool is_float(DType type) { return type != DType::i32 && type != DType::u8; }

// ---- norms of the oracle's tensors (f64, host), from which tolerances follow -------------------------------------

inline double value_at(Tensor x, std::int64_t i, std::int64_t j) {
  const std::int64_t element = i * x.stride + j;
  if (x.dtype == DType::i32) return x.as<std::int32_t>()[element];
  if (x.dtype == DType::u8) return x.as<std::uint8_t>()[element];
  return x.as<double>()[element];
}

inline double max_abs(Tensor x) {
  double largest = 0;
  for (std::int64_t i = 0; i < x.rows && !x.empty(); ++i) {
    for (std::int64_t j = 0; j < x.cols; ++j) largest = std::max(largest, std::abs(value_at(x, i, j)));
  }
  return largest;
}

/// Largest Euclidean norm of a row.
inline double row_norm(Tensor x) {
  double largest = 0;
  for (std::int64_t i = 0; i < x.rows; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < x.cols; ++j) sum += value_at(x, i, j) * value_at(x, i, j);
    largest = std::max(largest, sum);
  }
  return std::sqrt(largest);
}

/// Largest Euclidean norm of `group` successive rows of a column.
inline double column_norm(Tensor x, std::int64_t group) {
  double largest = 0;
  for (std::int64_t first = 0; first < x.rows; first += group) {
    for (std::int64_t j = 0; j < x.cols; ++j) {
      double sum = 0;
      for (std::int64_t i = first; i < std::min(first + group, x.rows); ++i)
        sum += value_at(x, i, j) * value_at(x, i, j);
      largest = std::max(largest, sum);
    }
  }
  return std::sqrt(largest);
}
inline double column_norm(Tensor x) { return column_norm(x, std::max<std::int64_t>(1, x.rows)); }

/// Smallest Euclidean norm of a column that is not zero; 1 where there is none.
inline double least_column_norm(Tensor x) {
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t j = 0; j < x.cols; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < x.rows; ++i) sum += value_at(x, i, j) * value_at(x, i, j);
    if (sum > 0) least = std::min(least, sum);
  }
  return std::isinf(least) ? 1.0 : std::sqrt(least);
}

/// Largest Euclidean norm of a row, or of a column, of a CSR matrix.
inline double csr_norm(const CsrPattern& w, Tensor values, bool of_columns) {
  std::vector<double> sums(static_cast<std::size_t>(of_columns ? w.cols : w.rows) + 1, 0.0);
  for (std::int64_t i = 0; i < w.rows; ++i) {
    for (std::int64_t e = w.row_start.as<std::int32_t>()[i]; e < w.row_start.as<std::int32_t>()[i + 1]; ++e) {
      const std::int64_t line = of_columns ? w.columns.as<std::int32_t>()[e] : i;
      sums[static_cast<std::size_t>(line)] += value_at(values, 0, e) * value_at(values, 0, e);
    }
  }
  return std::sqrt(*std::max_element(sums.begin(), sums.end()));
}

inline double root(std::int64_t n) { return std::sqrt(static_cast<double>(n)); }

/// One call of an operation: the oracle's copies ("mirrors") of its tensors as they were before, and the comparison.
class Call {
 public:
  Call(Backend& fast, Backend& oracle, std::string_view operation)
      : fast_(fast), oracle_(oracle), operation_(operation) {}

  /// The mirror of a tensor of `fast`, made on first sight: aliases among the operands stay aliases.
  Tensor operator()(Tensor x) {
    if (x.empty()) return {};
    for (const Entry& entry : entries_) {
      if (entry.original.data == x.data && entry.original.rows == x.rows && entry.original.cols == x.cols) {
        return entry.mirror.tensor;
      }
    }
    entries_.push_back({x, make_storage(oracle_, x.rows, x.cols, is_float(x.dtype) ? oracle_.real() : x.dtype)});
    const Storage host = on_host(x);
    oracle_.upload(host.tensor, entries_.back().mirror.tensor);
    return entries_.back().mirror.tensor;
  }
  CsrPattern operator()(const CsrPattern& p) {
    Call& mirror = *this;
    return {p.rows,
            p.cols,
            p.nnz,
            mirror(p.row_start),
            mirror(p.columns),
            mirror(p.column_start),
            mirror(p.row_of),
            mirror(p.position)};
  }

  /// Throws unless every element of x agrees with its mirror; n and magnitude as in tolerance().
  void compare(std::string_view what, Tensor x, std::int64_t n, double magnitude) {
    compare_within(what, x, tolerance(x.dtype, n, magnitude));
  }
  /// The same for a product whose inputs the backend rounds to `inputs`.
  void compare_product(std::string_view what, Tensor x, std::int64_t n, double magnitude, DType inputs) {
    compare_within(what, x, product_tolerance(inputs, x.dtype, n, magnitude));
  }
  void compare_within(std::string_view what, Tensor x, double accepted) {
    if (x.empty() || x.size() == 0) return;
    const Tensor want = (*this)(x);
    const Storage got = make_storage(oracle_, x.rows, x.cols, want.dtype), host = on_host(x);
    oracle_.upload(host.tensor, got.tensor);
    double worst = -1;
    std::int64_t row = 0, column = 0;
    for (std::int64_t i = 0; i < x.rows; ++i) {
      for (std::int64_t j = 0; j < x.cols; ++j) {
        const double difference = distance(value_at(got.tensor, i, j), value_at(want, i, j));
        if (difference > worst) worst = difference, row = i, column = j;
      }
    }
    if (worst <= accepted || worst == 0) return;  // accepted is no number where x is to be filled with NaN
    report(text(what, " [", row, ", ", column, "] of [", x.rows, ", ", x.cols, "]"), value_at(got.tensor, row, column),
           value_at(want, row, column), accepted);
  }
  double compare(double got, double want, std::int64_t n, double magnitude) {
    const double accepted = tolerance(fast_.real(), n, magnitude);
    if (!(distance(got, want) <= accepted)) report("the returned number", got, want, accepted);
    return got;
  }

 private:
  struct Entry {
    Tensor original;
    Storage mirror;
  };

  Storage on_host(Tensor x) {
    Storage host{allocate_host(static_cast<std::size_t>(x.size()) * size_of(x.dtype)), {}};
    host.tensor = view(host.buffer.data.get(), x.rows, x.cols, x.dtype);
    fast_.download(x, host.tensor);
    return host;
  }
  // Infinite where only one of the two is a number; two that are none agree.
  static double distance(double got, double want) {
    if (got == want || (std::isnan(got) && std::isnan(want))) return 0;
    const double difference = std::abs(got - want);
    return std::isnan(difference) ? HUGE_VAL : difference;
  }
  [[noreturn]] void report(std::string_view where, double got, double want, double accepted) const {
    fail(ErrorKind::numeric, "checked backend: ", operation_, ": ", where, ": ", fast_.name(), " gives ", got, ", ",
         oracle_.name(), " gives ", want, "; difference ", distance(got, want), ", accepted ", accepted);
  }

  Backend &fast_, &oracle_;
  std::string_view operation_;
  std::list<Entry> entries_;  // nodes stay where they are
};

/// A weight prepared by `fast`, with what the oracle needs to apply it in its own way.
class CheckedWeight final : public PreparedWeight {
 public:
  std::string_view kernel() const override { return prepared->kernel(); }
  std::size_t bytes() const override { return prepared->bytes(); }
  std::vector<TunedTime> tuning() const override { return prepared->tuning(); }

  std::unique_ptr<PreparedWeight> prepared;
  std::unique_ptr<Call> owner;  // keeps the mirrors alive
  CsrPattern pattern;
  Tensor values;
  bool sparse = false;
};

// ---- bounds of results that more than one operation has -------------------------------------------------------------

inline double dropout_scale(Dropout dropout) { return 1 / (1 - static_cast<double>(dropout.p)); }

/// A bound of the scores of attention: |q| |k| / √dim.
inline double largest_score(AttentionShape shape, Tensor q, Tensor k) {
  const std::int64_t dim = std::max<std::int64_t>(1, shape.head_dim);
  return column_norm(q, dim) * column_norm(k, dim) / root(dim);
}

/// Both softmax losses: an error of a logit's size in the exponent, relative to the gradient's largest element.
inline double classified(Call& m, Tensor logits, Tensor dlogits, std::int64_t n, double got, double want) {
  const double largest = 1 + max_abs(m(logits));
  m.compare("dlogits", dlogits, n, max_abs(m(dlogits)) * largest);
  return m.compare(got, want, n, largest);
}

/// Magnitudes of the value and the gradients of relation_distance. A gradient sums over a sequence what one pair can
/// bring; scores err as products do, and probabilities by the factor of an error in the exponent.
struct RelationBounds {
  double value = 0, da = 0, db = 0;

  RelationBounds(Call& m, Comparison comparison, std::int64_t heads, Tensor a, Tensor b, Tensor teacher_a,
                 Tensor teacher_b, Tensor starts, double scale) {
    if (heads == 0) return;
    const AttentionShape student{heads, a.rows / heads}, teacher{heads, teacher_a.rows / heads};
    const double score = 1 + largest_score(student, m(a), m(b)) + largest_score(teacher, m(teacher_a), m(teacher_b));
    const bool squares = comparison == Comparison::squares;
    double count = 0, longest = 0;
    for (std::int64_t s = 0; s + 1 < starts.cols; ++s) {
      const double length = value_at(m(starts), 0, s + 1) - value_at(m(starts), 0, s);
      count += static_cast<double>(heads) * length * (squares ? length : 1);
      longest = std::max(longest, length);
    }
    if (count == 0) return;
    // The probabilities of one query sum to 1, those of one key over all queries to at most their number.
    const double pair =
        std::abs(scale) / count * score / std::sqrt(static_cast<double>(std::max<std::int64_t>(1, student.head_dim)));
    da = pair * max_abs(m(b)) * (squares ? longest : 2);
    db = pair * max_abs(m(a)) * longest;
    value = squares ? score * score : score;
  }
};

}  // namespace bertx::checked
