// Random operands of operations on a backend, and the backends that the suite is run on.
#pragma once

#include <list>

#include "bertx/sparse/isa.h"
#include "cuda.h"
#include "support.h"

namespace bertx::test {

/// What a test runs on: a backend by name, with an instruction set forced where it has a choice.
struct Subject {
  std::string backend;
  sparse::Isa isa = sparse::Isa::portable;
};

inline void PrintTo(const Subject& subject, std::ostream* out) {
  *out << subject.backend << " with " << sparse::isa_name(subject.isa);
}
/// A further backend joins the whole suite by a line here.
inline std::vector<Subject> subjects() {
  std::vector<Subject> all{{"reference", sparse::Isa::portable}};
#if BERTX_HAVE_ONEDNN
  for (const sparse::Isa isa : {sparse::Isa::portable, sparse::Isa::avx2, sparse::Isa::avx512}) {
    all.push_back({"cpu", isa});
  }
#endif
#if BERTX_EMULATED_CUDA || BERTX_CUDA
  all.push_back({kCudaSubject, sparse::Isa::portable});
#endif
  return all;
}
inline std::string subject_name(const testing::TestParamInfo<Subject>& info) {
  if (info.param.backend == "cuda-emulated") return "cuda_emulated";
  if (info.param.backend != "cpu") return info.param.backend;
  return info.param.backend + "_" + std::string(sparse::isa_name(info.param.isa));
}
/// That of a subject.
inline std::unique_ptr<Backend> make_subject(const std::string& name, BackendOptions options = {}) {
  return name == kCudaSubject ? make_cuda(options) : make_backend(name, options);
}

class SubjectTest : public testing::TestWithParam<Subject> {
 protected:
  void SetUp() override {
    if (GetParam().isa > sparse::detected_isa()) {
      GTEST_SKIP() << "this processor lacks " << sparse::isa_name(GetParam().isa);
    }
    sparse::force_isa(GetParam().isa);
    if (GetParam().backend != kCudaSubject) return;
    if (const std::string why = why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
  }
  void TearDown() override { sparse::force_isa(sparse::detected_isa()); }

  std::unique_ptr<Backend> make() const { return make_subject(GetParam().backend); }
  /// Every call is compared with the reference backend.
  std::unique_ptr<Backend> make_checked() const { return make_checked_backend(make(), make_reference_backend()); }
};

/// Operands of one run of an operation: random content, sizes, strides; alive as long as the scene.
class Scene {
 public:
  Scene(Backend& on, std::uint64_t seed, std::int64_t largest) : backend(on), random(seed), largest_(largest) {}

  /// A dimension in [1, most]: often 1 or small, now and then as large as this scene has them.
  std::int64_t size(std::int64_t most = 1 << 20) {
    const std::int64_t limit = std::min(largest_, most);
    switch (random.integer(0, 5)) {
      case 0: return 1;
      case 1: return std::min<std::int64_t>(limit, random.integer(2, 9));
      case 2: return std::min<std::int64_t>(limit, 16 * random.integer(1, 4));
      case 3: return std::min<std::int64_t>(limit, random.integer(10, 70));
      default: return random.integer(1, limit);
    }
  }
  std::int64_t size_or_zero(std::int64_t most = 1 << 20) { return random.chance(0.1) ? 0 : size(most); }

  Tensor matrix(std::int64_t rows, std::int64_t cols, double scale = 1) {
    return keep(random_matrix(backend, random, rows, cols, scale, random.integer(0, 1) * random.integer(1, 20)));
  }
  /// [rows, 1]: a bias, gamma, beta
  Tensor vector(std::int64_t rows) { return keep(random_matrix(backend, random, rows, 1)); }
  Tensor contiguous(std::int64_t rows, std::int64_t cols) { return keep(random_matrix(backend, random, rows, cols)); }
  Tensor zeros(std::int64_t rows, std::int64_t cols) { return keep(make_storage(backend, rows, cols, backend.real())); }
  /// An output that is to be overwritten: all NaN.
  Tensor output(std::int64_t rows, std::int64_t cols) {
    const std::vector<double> nan(static_cast<std::size_t>(rows * cols), std::numeric_limits<double>::quiet_NaN());
    return keep(make_matrix(backend, rows, cols, nan, random.integer(0, 1) * random.integer(1, 20)));
  }
  Tensor indices(std::vector<std::int32_t> values) { return keep(make_indices(backend, std::move(values))); }
  Tensor indices_below(std::int64_t bound, std::int64_t count) {
    std::vector<std::int32_t> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<std::int32_t>(random.integer(0, bound - 1)));
    return indices(std::move(values));
  }
  Tensor mask(std::int64_t rows, std::int64_t cols, double kept) {
    std::vector<std::uint8_t> values;
    for (std::int64_t i = 0; i < rows * cols; ++i) values.push_back(random.chance(kept) ? 1 : 0);
    return keep(make_mask(backend, rows, cols, std::move(values)));
  }
  /// Starts of a few sequences, some of them of one token or none.
  std::vector<std::int32_t> starts(std::int64_t longest) {
    std::vector<std::int32_t> values{0};
    for (std::int64_t b = random.integer(1, 5); b > 0; --b) {
      const std::int64_t length = random.chance(0.15) ? 0 : size(longest);
      values.push_back(values.back() + static_cast<std::int32_t>(length));
    }
    return values;
  }
  Dropout dropout() {
    if (random.chance(0.4)) return {};
    return {static_cast<float>(random.uniform(0.05, 0.6)), static_cast<std::uint64_t>(random.integer(0, 1LL << 62))};
  }
  /// A random pattern with its transposed index; some rows may be empty.
  CsrPattern pattern(std::int64_t rows, std::int64_t cols, double density);

  /// The comparison made on this output is worth something.
  void trust(Tensor x, double least = 0.1) { EXPECT_TRUE(trusted(values_of(backend, x), least)); }

  Backend& backend;
  RandomSource random;

 private:
  Tensor keep(Storage storage) {
    kept_.push_back(storage);
    return storage.tensor;
  }
  std::int64_t largest_;
  std::list<Storage> kept_;
};

inline CsrPattern Scene::pattern(std::int64_t rows, std::int64_t cols, double density) {
  std::vector<std::int32_t> row_start{0}, columns, rows_of_entries;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < cols; ++j) {
      if (!random.chance(density)) continue;
      columns.push_back(static_cast<std::int32_t>(j));
      rows_of_entries.push_back(static_cast<std::int32_t>(i));
    }
    row_start.push_back(static_cast<std::int32_t>(columns.size()));
  }
  std::vector<std::int32_t> column_start{0}, row_of, position;
  for (std::int64_t j = 0; j < cols; ++j) {
    for (std::size_t e = 0; e < columns.size(); ++e) {
      if (columns[e] != j) continue;
      row_of.push_back(rows_of_entries[e]);
      position.push_back(static_cast<std::int32_t>(e));
    }
    column_start.push_back(static_cast<std::int32_t>(position.size()));
  }
  const std::int64_t nnz = static_cast<std::int64_t>(columns.size());
  return {
      rows, cols, nnz, indices(row_start), indices(columns), indices(column_start), indices(row_of), indices(position)};
}

}  // namespace bertx::test
