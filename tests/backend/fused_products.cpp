// Dense products in one pass by tensor cores (product_cores.cu): every cut and both types against the reference.
#include <tuple>

#include "core/float16.h"
#include "remembered.h"

namespace bertx::test {
namespace {

enum class Type : int { bf16, tf32 };
constexpr int kWarpgroups = 512;

class FusedProducts : public RememberedTuning, public testing::WithParamInterface<std::tuple<Type, int>> {
 protected:
  bool bf16() const { return std::get<0>(GetParam()) == Type::bf16; }
  int cut() const { return std::get<1>(GetParam()); }
  BackendOptions options() const { return bf16() ? BackendOptions{DType::bf16} : BackendOptions{DType::f32, true}; }

  /// Columns to add to a shape, so that each cut has shapes of its own: one process measures a shape once.
  int own() const { return cut() / 32; }  // 1, 2, 4, 8 or 16
  /// The form of this cut, and no other.
  std::shared_ptr<PreparedWeight> prepare(Backend& backend, Tensor w) const {
    const std::string form =
        cut() == kWarpgroups ? "dense, fused, warpgroups" : text("dense, fused, ", cut(), " x ", std::min(cut(), 128));
    remember(backend, {w.rows, w.cols, w.size(), bf16() ? "bf16, dense" : "tf32, dense"}, form);
    std::shared_ptr<PreparedWeight> weight = backend.prepare_dense(w);
    if (weight == nullptr) throw std::runtime_error("the form was not taken");
    EXPECT_EQ(weight->kernel(), bf16() ? "dense-bf16-fused" : "dense-tf32-fused");
    for (const TunedTime& time : weight->tuning()) EXPECT_EQ(time.chosen, time.kernel == form) << time.kernel;
    return weight;
  }
  /// A number that the type has to the last bit.
  double narrow(double x) const {
    if (bf16()) return bf16_to_float(float_to_bf16(static_cast<float>(x)));
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) & 0xFFFFE000u);
  }
};

std::string name_of(const testing::TestParamInfo<std::tuple<Type, int>>& info) {
  return text(std::get<0>(info.param) == Type::bf16 ? "bf16_" : "tf32_", std::get<1>(info.param));
}

// Rows, columns and tokens that fill no block, fill one, or a little more; every kind of epilogue and alignment.
TEST_P(FusedProducts, AgreeWithTheReference) {
  const auto backend = make_checked_backend(make_cuda(options()), make_reference_backend());
  Scene s(*backend, 3, 200);
  constexpr Activation kActivations[] = {Activation::none, Activation::gelu_erf, Activation::gelu_tanh,
                                         Activation::relu, Activation::tanh};
  int turn = 0;
  for (const auto& [rows, columns] :
       {std::pair{1, 1}, {3, 300}, {64, 64}, {31, 257}, {129, 33}, {130, 600}, {257, 8}, {96, 512}}) {
    const int cols = columns + own() - 1;
    SCOPED_TRACE(text(rows, " x ", cols));
    const auto weight = prepare(*backend, s.matrix(rows, cols));
    EXPECT_GE(weight->bytes(), static_cast<std::size_t>(rows * cols * (bf16() ? 2 : 4)));
    EXPECT_LE(weight->bytes(), static_cast<std::size_t>(rows * (cols + 7) * (bf16() ? 2 : 4)));
    for (const std::int64_t tokens : {1, 5, 32, 33, 128, 131}) {
      const Tensor x = s.matrix(cols, tokens), y = s.output(rows, tokens);
      Epilogue epilogue;
      if (turn % 2 == 0) epilogue.bias = s.vector(rows);
      if (turn % 3 == 0) epilogue.residual = s.matrix(rows, tokens);
      epilogue.activation = kActivations[turn % 5];
      ++turn;
      backend->apply(*weight, x, y, epilogue);
    }
  }
  // Views of larger matrices, at addresses and strides that allow no vectors.
  const auto weight = prepare(*backend, s.matrix(70, 90 + own()));
  for (const std::int64_t from : {1, 2, 4}) {
    const Tensor x = s.matrix(90 + own(), 83).col_range(from, 75), y = s.output(70, 81).col_range(from, 75);
    const Tensor residual = s.matrix(70, 82).col_range(7 - from, 75);
    backend->apply(*weight, x, y, {s.vector(70), Activation::gelu_erf, residual});
  }
}

// Numbers that are not rounded give products as exact as those of floats, which a wrong element would not; rounded ones
// do not.
TEST_P(FusedProducts, AreExactForNumbersOfTheirType) {
  const auto backend = make_cuda(options()), reference = make_reference_backend();
  RandomSource random(4);
  for (const bool round : {true, false}) {
    for (const auto& [rows, cols, tokens] :
         {std::tuple{65 + own(), 130 + round, 70}, {140, 258 + 2 * own() + round, 129}}) {
      const auto numbers = [&, round = round](std::int64_t count) {
        std::vector<double> out = random.normals(count);
        for (double& value : out) value = round ? narrow(value) : static_cast<float>(value);
        return out;
      };
      const std::vector<double> w = numbers(rows * cols), x = numbers(cols * tokens);
      const Storage there = make_matrix(*backend, cols, tokens, x, 3),
                    y = make_storage(*backend, rows, tokens, DType::f32);
      const auto weight = prepare(*backend, make_matrix(*backend, rows, cols, w).tensor);
      backend->apply(*weight, there.tensor, y.tensor, {});
      const Storage rw = make_matrix(*reference, rows, cols, w), rx = make_matrix(*reference, cols, tokens, x),
                    want = make_storage(*reference, rows, tokens, DType::f64);
      reference->gemm(Trans::no, Trans::no, rw.tensor, rx.tensor, want.tensor, Write::overwrite);
      const auto same = all_near(values_of(*backend, y.tensor), values_of(*reference, want.tensor), DType::f32, cols,
                                 static_cast<double>(cols));
      EXPECT_EQ(static_cast<bool>(same), round) << same.message();
    }
  }
}

// Not a number of one token must not reach another, nor what lies behind the last token and the last row.
TEST_P(FusedProducts, KeepTokensApart) {
  const auto backend = make_cuda(options());
  const std::int64_t rows = 40, cols = 50 + own(), tokens = 70, bad = 33;
  RandomSource random(5);
  std::vector<double> x = random.normals(cols * tokens);
  for (std::int64_t c = 0; c < cols; c += 7) {
    x[static_cast<std::size_t>(c * tokens + bad)] = std::numeric_limits<double>::quiet_NaN();
  }
  const auto weight = prepare(*backend, make_matrix(*backend, rows, cols, random.normals(rows * cols)).tensor);
  const Storage there = make_matrix(*backend, cols, tokens, x), y = make_storage(*backend, rows, tokens, DType::f32);
  backend->apply(*weight, there.tensor, y.tensor, {});
  const std::vector<double> got = values_of(*backend, y.tensor);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(std::isnan(got[i]), static_cast<std::int64_t>(i) % tokens == bad) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Cuts, FusedProducts,
                         testing::Combine(testing::Values(Type::bf16, Type::tf32), testing::Values(256, 128, 64, 32)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Warpgroups, FusedProducts, testing::Values(std::tuple{Type::bf16, kWarpgroups}), name_of);

}  // namespace
}  // namespace bertx::test
