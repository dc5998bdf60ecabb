// Dense products with inputs rounded to bf16: the rounding itself, the products, and every operation beside them.
#include "bertx/error.h"
#include "core/float16.h"
#include "scenarios.h"

namespace bertx::test {
namespace {

double to_bf16(double x) { return bf16_to_float(float_to_bf16(static_cast<float>(x))); }

class Bf16 : public SubjectTest {
 protected:
  void SetUp() override {
    if (GetParam().backend == "reference") GTEST_SKIP() << "the reference backend rounds nothing";
    SubjectTest::SetUp();
  }
  std::unique_ptr<Backend> make_bf16() const { return make_subject(GetParam().backend, {DType::bf16}); }
};

TEST_P(Bf16, EveryOperationAgreesWithTheReference) {
  const auto backend = make_checked_backend(make_bf16(), make_reference_backend());
  EXPECT_EQ(backend->products(), DType::bf16);
  EXPECT_EQ(backend->real(), DType::f32);
  for (const Scenario& scenario : scenarios()) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      SCOPED_TRACE(std::string(scenario.operation) + ", seed " + std::to_string(seed));
      Scene scene(*backend, seed, seed % 3 == 0 ? 200 : 64);
      try {
        scenario.run(scene);
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
    }
  }
}

// A factor of 1 shows how the other one is rounded.
TEST_P(Bf16, RoundsToNearestTiesToEvenAndKeepsWhatIsNoNumber) {
  const auto backend = make_bf16();
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> values{1,
                             -1,
                             1 + 0x1p-8,
                             1 + 0x1p-8 + 0x1p-23,
                             1 + 3 * 0x1p-8,
                             -1 - 0x1p-8,
                             0x1p-126,
                             3.4e38,
                             -3.4e38,
                             infinity,
                             -infinity,
                             0,
                             nan,
                             1e-3,
                             0x1p-127,
                             -0x1.8p-130};
  RandomSource random(3);
  for (int i = 0; i < 1000; ++i) values.push_back(random.normal() * std::exp2(random.uniform(-60, 60)));
  for (const std::int64_t columns : {std::int64_t{1}, std::int64_t{3}, std::int64_t{16}}) {  // both ways of products
    for (std::size_t first = 0; first + 16 <= values.size(); first += static_cast<std::size_t>(columns)) {
      const std::vector<double> some(values.begin() + static_cast<std::ptrdiff_t>(first),
                                     values.begin() + static_cast<std::ptrdiff_t>(first) + columns);
      const Storage one = make_matrix(*backend, 1, 1, {1}), x = make_matrix(*backend, 1, columns, some);
      const Storage y = make_storage(*backend, 1, columns, DType::f32);
      backend->gemm(Trans::no, Trans::no, one.tensor, x.tensor, y.tensor, Write::overwrite);
      const std::vector<double> got = values_of(*backend, y.tensor);
      for (std::size_t i = 0; i < some.size(); ++i) {
        // Numbers below the smallest normal one may be flushed to 0.
        const double rounded = to_bf16(some[i]), want = std::abs(some[i]) < 0x1p-126 && got[i] == 0 ? 0 : rounded;
        EXPECT_TRUE(got[i] == want || (std::isnan(got[i]) && std::isnan(want))) << some[i] << " gives " << got[i];
      }
      if (columns == 16) first += 16;
    }
  }
}

Storage rounded_matrix(Backend& backend, Scene& s, std::int64_t rows, std::int64_t cols, bool round) {
  std::vector<double> values = s.random.normals(rows * cols);
  for (double& value : values) value = round ? to_bf16(value) : static_cast<float>(value);
  return make_matrix(backend, rows, cols, values, s.random.integer(0, 1) * s.random.integer(1, 20));
}

// Numbers that are bf16 already are not rounded: their product is as exact as one of floats.
TEST_P(Bf16, ProductsOfBf16NumbersAreAsExactAsThoseOfFloats) {
  const auto backend = make_bf16(), reference = make_reference_backend();
  Scene s(*backend, 5, 100);
  bool rounding_seen = false;
  for (int run = 0; run < 60; ++run) {
    const std::int64_t m = s.size(), n = s.size(), k = s.size();
    const bool ta = s.random.chance(0.3), tb = s.random.chance(0.3), add = s.random.chance(0.5);
    const bool round = run % 4 != 0;  // the others show that this test sees a rounding
    const Storage a = ta ? rounded_matrix(*backend, s, k, m, round) : rounded_matrix(*backend, s, m, k, round);
    const Storage b = tb ? rounded_matrix(*backend, s, n, k, round) : rounded_matrix(*backend, s, k, n, round);
    const Storage c = rounded_matrix(*backend, s, m, n, true);
    const auto mirror = [&](const Storage& x) {
      return make_matrix(*reference, x.tensor.rows, x.tensor.cols, values_of(*backend, x.tensor));
    };
    const Storage want = mirror(c);
    const auto trans = [](bool yes) { return yes ? Trans::yes : Trans::no; };
    const Write write = add ? Write::add : Write::overwrite;
    reference->gemm(trans(ta), trans(tb), mirror(a).tensor, mirror(b).tensor, want.tensor, write);
    backend->gemm(trans(ta), trans(tb), a.tensor, b.tensor, c.tensor, write);
    const std::vector<double> got = values_of(*backend, c.tensor), exact = values_of(*reference, want.tensor);
    const double magnitude = 3 * static_cast<double>(k) + 4;
    const auto same = all_near(got, exact, DType::f32, k, magnitude / 3);
    if (round) {
      EXPECT_TRUE(same) << m << " x " << k << " x " << n;
    } else {
      rounding_seen = rounding_seen || !same;
    }
    if (ta || tb || add) continue;
    if (const auto weight = backend->prepare_dense(a.tensor); weight != nullptr) {
      EXPECT_EQ(weight->kernel(), "dense-bf16");
      const Tensor y = s.output(m, n);
      backend->apply(*weight, b.tensor, y, {});
      EXPECT_EQ(values_of(*backend, y), got);
    }
  }
  EXPECT_TRUE(rounding_seen);
}

// The same of sparse weights, which are rounded when they are prepared.
TEST_P(Bf16, PreparedSparseWeightsTakeBf16NumbersExactly) {
  const auto backend = make_bf16(), reference = make_reference_backend();
  Scene s(*backend, 6, 100);
  bool rounding_seen = false;
  for (int run = 0; run < 40; ++run) {
    const bool round = run % 4 != 0;
    const CsrPattern w = s.pattern(s.size(), s.size(), 0.2);
    const Storage values = rounded_matrix(*backend, s, 1, w.nnz, round),
                  x = rounded_matrix(*backend, s, w.cols, s.size(), round);
    const auto weight = backend->prepare_csr(w, values.tensor);
    EXPECT_TRUE(weight->kernel().ends_with("-bf16")) << weight->kernel();
    const Tensor y = s.output(w.rows, x.tensor.cols), f32 = s.output(w.rows, x.tensor.cols);
    backend->apply(*weight, x.tensor, y, {});
    backend->spmm(w, values.tensor, x.tensor, f32);  // unprepared, as in training: not rounded
    const bool same = bool(all_near(values_of(*backend, y), values_of(*backend, f32), DType::f32, 2 * w.cols,
                                    3 * static_cast<double>(w.cols) / 3 + 4));
    if (round) {
      EXPECT_TRUE(same) << w.rows << " x " << w.cols;
    } else {
      rounding_seen = rounding_seen || !same;
    }
  }
  EXPECT_TRUE(rounding_seen);
}

TEST(Bf16Options, OtherBackendsAndOtherTypesAreRefused) {
  EXPECT_THROW(make_backend("reference", {DType::bf16}), Error);
  EXPECT_THROW(make_cpu_backend({DType::f16}), Error);
  EXPECT_EQ(make_cpu_backend()->products(), DType::f32);
  EXPECT_NE(make_cpu_backend({DType::bf16})->description().find("bf16"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Backends, Bf16, testing::ValuesIn(subjects()), subject_name);

}  // namespace
}  // namespace bertx::test
