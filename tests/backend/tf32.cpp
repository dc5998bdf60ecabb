// Products whose inputs the cuda backend rounds to TF32.
#include "bertx/error.h"
#include "long_attention.h"

namespace bertx::test {
namespace {

using Tf32 = CudaTest;

constexpr BackendOptions kTf32{DType::f32, true};

// 11 bits behind the point: one more than TF32 has. To which side it is rounded is the hardware's business.
TEST_F(Tf32, HasTenBitsBehindThePoint) {
  for (const bool tf32 : {false, true}) {
    const auto backend = make_cuda(tf32 ? kTf32 : BackendOptions{});
    const double fine = 1 + 0x1p-11;
    const Storage a = make_matrix(*backend, 1, 1, {fine}), b = make_matrix(*backend, 1, 1, {1});
    const Storage c = make_storage(*backend, 1, 1, DType::f32);
    backend->gemm(Trans::no, Trans::no, a.tensor, b.tensor, c.tensor, Write::overwrite);
    const double got = values_of(*backend, c.tensor).front();
    if (tf32) {
      EXPECT_TRUE(got == 1 || got == 1 + 0x1p-10) << got;
    } else {
      EXPECT_EQ(got, fine);
    }
  }
}

TEST_F(Tf32, ProductsAreThoseOfTheReferenceToItsRounding) {
  const auto backend = make_cuda(kTf32), reference = make_reference_backend();
  Scene s(*backend, 4, 100);
  for (int run = 0; run < 10; ++run) {
    const Tensor a = s.matrix(s.size(), 60), b = s.matrix(60, s.size()), c = s.output(a.rows, b.cols);
    backend->gemm(Trans::no, Trans::no, a, b, c, Write::overwrite);
    const auto mirror = [&](Tensor x) { return make_matrix(*reference, x.rows, x.cols, values_of(*backend, x)); };
    const Storage ra = mirror(a), rb = mirror(b), rc = make_storage(*reference, c.rows, c.cols, DType::f64);
    reference->gemm(Trans::no, Trans::no, ra.tensor, rb.tensor, rc.tensor, Write::overwrite);
    // A product of two numbers of 10 bits errs by 2^-10 at most, cut off rather than rounded by 2^-9; 60 of them.
    const std::vector<double> got = values_of(*backend, c), want = values_of(*reference, rc.tensor);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 0x1p-9 * 60);
    s.trust(c);
  }
}

// Heads of one tile and of several, features that fill no step; every result is compared.
TEST_F(Tf32, AttentionIsThatOfTheReferenceToItsRounding) {
  const auto backend = make_checked_backend(make_cuda(kTf32), make_reference_backend());
  for (const AttentionShape shape : {AttentionShape{2, 20}, {1, 64}, {3, 7}, {2, 65}}) {
    SCOPED_TRACE(shape.head_dim);
    run_attention(*backend, shape, {0, 3, 3, 140, 141, 180});
  }
}

// A score of one query and one key whose last bit TF32 does not have: attention by f32 would see it.
TEST_F(Tf32, AttentionRoundsItsInputs) {
  for (const bool tf32 : {false, true}) {
    const auto backend = make_cuda(tf32 ? kTf32 : BackendOptions{});
    const Storage q = make_matrix(*backend, 1, 1, {1 + 0x1p-12}), k = make_matrix(*backend, 1, 1, {1}),
                  v = make_matrix(*backend, 1, 1, {1}), context = make_storage(*backend, 1, 1, DType::f32),
                  log_sum_exp = make_storage(*backend, 1, 1, DType::f32), starts = make_indices(*backend, {0, 1});
    backend->attention({1, 1}, q.tensor, k.tensor, v.tensor, starts.tensor, {}, context.tensor, log_sum_exp.tensor);
    EXPECT_EQ(values_of(*backend, log_sum_exp.tensor).front(), tf32 ? 1 : 1 + 0x1p-12);
  }
}

TEST(Tf32Options, OtherBackendsRefuseIt) {
  for (const char* name : {"cpu", "reference"}) {
    try {
      make_backend(name, kTf32);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(error.what()).find("TF32"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace bertx::test
