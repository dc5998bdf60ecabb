// The products of a matrix W [m, k] on T tokens, each sparse and dense, timed in turn and checked.
#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "bench/kernels.h"
#include "bench/timing.h"
#include "bertx/error.h"
#include "bertx/sparse/reference.h"
#include "core/tolerance.h"

namespace bertx::tools {
namespace {

/// Matrices in double, row by row.
struct Doubles {
  std::int64_t rows = 0, cols = 0;
  std::vector<double> values;
  double* row(std::int64_t r) { return values.data() + r * cols; }
  const double* row(std::int64_t r) const { return values.data() + r * cols; }
};

Doubles download(Backend& backend, Tensor x) {
  Doubles out{x.rows, x.cols, std::vector<double>(static_cast<std::size_t>(x.size()))};
  if (x.size() > 0) backend.download(x, view(out.values.data(), x.rows, x.cols, DType::f64));
  return out;
}

/// At most `most` of [0, count), the first and the last among them.
std::vector<std::int64_t> sample(std::int64_t count, std::int64_t most) {
  std::vector<std::int64_t> out;
  const std::int64_t n = std::min(count, most);
  for (std::int64_t i = 0; i < n; ++i) out.push_back(n == 1 ? 0 : i * (count - 1) / (n - 1));
  return out;
}

Doubles columns_of(const Doubles& x, const std::vector<std::int64_t>& columns) {
  Doubles out{x.rows, static_cast<std::int64_t>(columns.size()), {}};
  for (std::int64_t r = 0; r < x.rows; ++r) {
    for (const std::int64_t c : columns) out.values.push_back(x.row(r)[c]);
  }
  return out;
}

double norm(const double* x, std::int64_t count, std::int64_t stride) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i * stride] * x[i * stride];
  return std::sqrt(sum);
}

/// The largest |found - expected| / tolerance, where found and expected are [rows, cols] and an element is a sum of
/// `terms` products of numbers whose norms are left[row] and right[col].
double checked(const std::string& what, DType type, const Doubles& found, const Doubles& expected, std::int64_t terms,
               const std::vector<double>& left, const std::vector<double>& right) {
  double worst = 0;
  for (std::int64_t r = 0; r < found.rows; ++r) {
    for (std::int64_t c = 0; c < found.cols; ++c) {
      const double a = found.row(r)[c], b = expected.row(r)[c];
      const double allowed =
          tolerance(type, terms, left[static_cast<std::size_t>(r)] * right[static_cast<std::size_t>(c)]);
      if (!(std::fabs(a - b) <= allowed)) {
        fail(ErrorKind::numeric, what, ": element (", r, ", ", c, ") of those that are checked is ", a, "; expected ",
             b, ", the sum in double, to ", allowed);
      }
      worst = std::max(worst, std::fabs(a - b) / allowed);
    }
  }
  return worst;
}

/// Everything that the products of one matrix read and write.
struct Scene {
  Backend& backend;
  const KernelMatrix& matrix;
  std::int64_t rows, cols, tokens;
  Arena arena;
  Tensor x, dy, y, dx;  // [k, T], [m, T]; written: [m, T], [k, T]
  Storage dw, dvalues;  // [m, k], [1, nnz]
  std::vector<double> w_row_norms, w_column_norms;
  sparse::CsrMatrix<double> w;

  Scene(Backend& b, const KernelMatrix& m, std::int64_t t, std::uint64_t seed)
      : backend(b), matrix(m), rows(m.csr->out()), cols(m.csr->in()), tokens(t), arena(b) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    const auto activation = [&](std::int64_t features) {
      const Tensor out = arena.take(features, tokens, backend.real());
      std::vector<float> values(static_cast<std::size_t>(features * tokens));
      for (float& value : values) value = normal(random);
      backend.upload(view(values.data(), features, tokens, DType::f32), out);
      return out;
    };
    x = activation(cols), dy = activation(rows), y = activation(rows), dx = activation(cols);
    dw = make_storage(backend, rows, cols, backend.real());
    dvalues = make_storage(backend, 1, matrix.csr->multiplies(), backend.real());
    const Doubles dense = download(backend, matrix.dense->tensor());
    w = sparse::csr_from_dense(dense.values.data(), cols, rows, cols);
    for (std::int64_t r = 0; r < rows; ++r) w_row_norms.push_back(norm(dense.row(r), cols, 1));
    for (std::int64_t c = 0; c < cols; ++c) w_column_norms.push_back(norm(dense.row(0) + c, rows, cols));
  }
};

/// One product in one form. `check` runs it on cleared outputs and compares samples of them.
struct Product {
  std::string name, kernel;
  int dense = -1;  ///< index of the dense form of a sparse product
  std::function<void()> run;
  std::function<double(const std::string& what)> check;
  std::vector<double> times;
  double error = 0;
};

std::vector<double> column_norms(const Doubles& x) {
  std::vector<double> out;
  for (std::int64_t c = 0; c < x.cols; ++c) out.push_back(norm(x.values.data() + c, x.rows, x.cols));
  return out;
}

/// y = W x, on a few tokens
double check_forward(Scene& s, const std::string& what) {
  const auto tokens = sample(s.tokens, 8);
  const Doubles x = columns_of(download(s.backend, s.x), tokens), found = columns_of(download(s.backend, s.y), tokens);
  Doubles expected = found;
  sparse::spmm_reference(s.w.view(), x.values.data(), x.cols, expected.values.data(), x.cols, x.cols);
  return checked(what, s.backend.real(), found, expected, s.cols, s.w_row_norms, column_norms(x));
}

/// dx = Wᵀ dy, on a few tokens
double check_transposed(Scene& s, const std::string& what) {
  const auto tokens = sample(s.tokens, 8);
  const Doubles dy = columns_of(download(s.backend, s.dy), tokens),
                found = columns_of(download(s.backend, s.dx), tokens);
  Doubles expected = found;
  sparse::spmm_transposed_reference(s.w.view(), dy.values.data(), dy.cols, expected.values.data(), dy.cols, dy.cols);
  return checked(what, s.backend.real(), found, expected, s.rows, s.w_column_norms, column_norms(dy));
}

/// dW = dy xᵀ at the nonzeros of a few rows; found(row, place) is the element at a place of the pattern.
double check_gradient(Scene& s, const std::string& what,
                      const std::function<double(std::int64_t row, std::int32_t place)>& found_at) {
  const Doubles x = download(s.backend, s.x), dy = download(s.backend, s.dy);
  std::vector<double> x_norms;
  for (std::int64_t c = 0; c < s.cols; ++c) x_norms.push_back(norm(x.row(c), s.tokens, 1));
  double worst = 0;
  for (const std::int64_t r : sample(s.rows, 8)) {
    // The row alone, as a matrix of one row.
    const std::int32_t first = s.w.row_start[static_cast<std::size_t>(r)];
    const std::int32_t count = s.w.row_start[static_cast<std::size_t>(r) + 1] - first;
    const std::int32_t starts[2] = {0, count};
    const std::int32_t* columns = s.w.columns.data() + first;
    Doubles expected{1, count, std::vector<double>(static_cast<std::size_t>(count))}, found = expected;
    sparse::sddmm_reference<double>({1, s.cols, starts, columns, nullptr}, dy.row(r), s.tokens, x.values.data(),
                                    s.tokens, s.tokens, expected.values.data());
    std::vector<double> norms;
    for (std::int32_t n = 0; n < count; ++n) {
      found.values[static_cast<std::size_t>(n)] = found_at(r, first + n);
      norms.push_back(x_norms[static_cast<std::size_t>(columns[n])]);
    }
    const std::vector<double> left{norm(dy.row(r), s.tokens, 1)};
    worst = std::max(worst, checked(text(what, ", row ", r), s.backend.real(), found, expected, s.tokens, left, norms));
  }
  return worst;
}

double check_dense_gradient(Scene& s, const std::string& what) {
  const Doubles dw = download(s.backend, s.dw.tensor);
  return check_gradient(s, what, [&](std::int64_t row, std::int32_t place) {
    return dw.row(row)[s.w.columns[static_cast<std::size_t>(place)]];
  });
}

double check_sparse_gradient(Scene& s, const std::string& what) {
  const Doubles values = download(s.backend, s.dvalues.tensor);
  return check_gradient(
      s, what, [&](std::int64_t, std::int32_t place) { return values.values[static_cast<std::size_t>(place)]; });
}

/// What serves so many tokens: of kernels that were chosen by measurement the one that was, by the name it had there.
std::string kernel_of(const PreparedWeight& packed, std::int64_t tokens) {
  std::string last(packed.kernel());
  std::int64_t up_to = -1;
  for (const TunedTime& time : packed.tuning()) {
    if (!time.chosen || up_to >= tokens || time.tokens <= up_to) continue;
    last = time.kernel, up_to = time.tokens;
  }
  return last;
}

std::vector<Product> products_of(Scene& s) {
  Backend& be = s.backend;
  const CsrPattern& pattern = s.matrix.csr->pattern();
  const Tensor w = s.matrix.dense->tensor(), values = s.matrix.csr->values().tensor();
  const auto forward = [&s](const std::string& what) { return check_forward(s, what); };
  const auto transposed = [&s](const std::string& what) { return check_transposed(s, what); };
  std::vector<Product> out;
  const auto gemm = [&be](Trans ta, Trans tb, Tensor a, Tensor b, Tensor c, Write write) {
    return [=, &be] { be.gemm(ta, tb, a, b, c, write); };
  };

  // W X, packed for inference; a backend that gains nothing by packing has one form of it.
  if (const std::shared_ptr<PreparedWeight> packed = be.prepare_dense(w)) {
    out.push_back({"inference",
                   kernel_of(*packed, s.tokens),
                   -1,
                   [=, &be, &s] { be.apply(*packed, s.x, s.y, {}); },
                   forward,
                   {},
                   0});
  } else {
    out.push_back(
        {"inference", "dense", -1, gemm(Trans::no, Trans::no, w, s.x, s.y, Write::overwrite), forward, {}, 0});
  }
  if (const std::shared_ptr<PreparedWeight> packed = be.prepare_csr(pattern, values)) {
    out.push_back({"inference",
                   kernel_of(*packed, s.tokens),
                   0,
                   [=, &be, &s] { be.apply(*packed, s.x, s.y, {}); },
                   forward,
                   {},
                   0});
  }
  // The three products of training, in its own layout.
  CsrPattern training = pattern;
  training.prepared = be.prepare_pattern(pattern, values);
  int dense = static_cast<int>(out.size());
  out.push_back({"forward", "dense", -1, gemm(Trans::no, Trans::no, w, s.x, s.y, Write::overwrite), forward, {}, 0});
  out.push_back({"forward", "csr", dense, [=, &be, &s] { be.spmm(training, values, s.x, s.y); }, forward, {}, 0});
  dense = static_cast<int>(out.size());
  out.push_back(
      {"input grad", "dense", -1, gemm(Trans::yes, Trans::no, w, s.dy, s.dx, Write::overwrite), transposed, {}, 0});
  out.push_back({"input grad",
                 "csr",
                 dense,
                 [=, &be, &s] { be.spmm_transposed(training, values, s.dy, s.dx, Write::overwrite); },
                 transposed,
                 {},
                 0});
  dense = static_cast<int>(out.size());
  out.push_back({"weight grad",
                 "dense",
                 -1,
                 gemm(Trans::no, Trans::yes, s.dy, s.x, s.dw.tensor, Write::add),
                 [&s](const std::string& what) { return check_dense_gradient(s, what); },
                 {},
                 0});
  out.push_back({"weight grad",
                 "csr",
                 dense,
                 [=, &be, &s] { be.sddmm(training, s.dy, s.x, s.dvalues.tensor); },
                 [&s](const std::string& what) { return check_sparse_gradient(s, what); },
                 {},
                 0});
  return out;
}

}  // namespace

std::vector<KernelRow> time_products(Backend& backend, const KernelMatrix& matrix, std::int64_t tokens,
                                     const BenchRuns& runs) {
  Scene scene(backend, matrix, tokens, runs.seed);
  std::vector<Product> products = products_of(scene);

  // 1. Each once, on cleared outputs, for the check.
  for (Product& product : products) {
    for (const Tensor& output : {scene.y, scene.dx, scene.dw.tensor, scene.dvalues.tensor}) backend.fill(output, 0);
    product.run();
    product.error =
        product.check(text(product.name, " ", matrix.name, ", ", tokens, " tokens, kernel ", product.kernel));
  }

  // 2. In turn: each as many calls as take a time that the clock can tell, at least a quarter of a millisecond. A
  // device works on behind the calls, so a number is fetched from it at the end, whose way should not count: 2
  // milliseconds.
  float fetched = 0;
  const auto wait = [&] {
    const Tensor first = scene.y.row_range(0, 1).col_range(0, 1);
    if (!backend.host_memory()) backend.download(first, view(&fetched, 1, 1, DType::f32));
  };
  const double least_ms = backend.host_memory() ? 0.25 : 2.0;
  std::vector<int> calls;
  for (Product& product : products) {
    wait();
    const double once = std::max(1e-4, milliseconds([&] { product.run(), wait(); }));
    calls.push_back(static_cast<int>(std::clamp(least_ms / once, 1.0, 1000.0)));
  }
  for (std::int64_t rep = -runs.warmup; rep < runs.reps; ++rep) {
    for (std::size_t p = 0; p < products.size(); ++p) {
      const double ms = milliseconds([&] {
        for (int call = 0; call < calls[p]; ++call) products[p].run();
        wait();
      });
      if (rep >= 0) products[p].times.push_back(ms / calls[p]);
    }
  }

  // 3. Rows of the sparse forms.
  std::vector<KernelRow> rows;
  for (const Product& product : products) {
    if (product.dense < 0) continue;
    const Product& dense = products[static_cast<std::size_t>(product.dense)];
    const Timing timing = timing_of(product.times);
    KernelRow& row = rows.emplace_back();
    row.product = product.name;
    row.matrix = matrix.name;
    row.kernel = product.kernel;
    row.dtype = dtype_name(backend.real());
    row.rows = scene.rows;
    row.cols = scene.cols;
    row.nonzeros = matrix.csr->multiplies();
    row.tokens = tokens;
    row.threads = runs.threads;
    row.reps = runs.reps;
    row.sparsity = matrix.sparsity;
    row.min_us = 1e3 * timing.min_ms;
    row.median_us = 1e3 * timing.median_ms;
    row.gflops = 2e-6 * static_cast<double>(row.nonzeros) * static_cast<double>(tokens) / timing.min_ms;
    row.dense_us = 1e3 * timing_of(dense.times).min_ms;
    row.error = std::max(product.error, dense.error);
  }
  return rows;
}

}  // namespace bertx::tools
