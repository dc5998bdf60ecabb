// Activations in bf16 that only products read (Backend::between_products): numbers that are rounded where they are made
// are those that the next product would have rounded.
#include "core/float16.h"
#include "remembered.h"

namespace bertx::test {
namespace {

double to_bf16(double x) { return bf16_to_float(float_to_bf16(static_cast<float>(x))); }
std::vector<double> to_bf16(std::vector<double> values) {
  for (double& value : values) value = to_bf16(value);
  return values;
}

class BetweenProducts : public RememberedTuning {
 protected:
  void SetUp() override {
    RememberedTuning::SetUp();
    if (IsSkipped()) return;
    backend_ = make_cuda({DType::bf16});
    ASSERT_EQ(backend_->between_products(), DType::bf16);
  }
  /// In bf16, at an address and a stride that allow vectors or not.
  Storage inner(std::int64_t rows, std::int64_t cols, const std::vector<double>& values, bool aligned) {
    const std::int64_t offset = aligned ? 0 : 3;
    Storage storage = make_storage(*backend_, rows, aligned ? (cols + 7) / 8 * 8 : cols + 4, DType::bf16);
    backend_->fill(storage.tensor, std::numeric_limits<double>::quiet_NaN());
    storage.tensor = storage.tensor.col_range(offset, cols);
    std::vector<double> copy = values;
    backend_->upload(view(copy.data(), rows, cols, DType::f64), storage.tensor);
    return storage;
  }
  /// x and y each in bf16 or f32: all four give the same numbers, but that y is rounded.
  void expect_same(const PreparedWeight& weight, std::int64_t rows, std::int64_t cols) {
    for (const std::int64_t tokens : {1, 7, 33, 130}) {
      const std::vector<double> x = random_.normals(cols * tokens);
      const Storage bias = random_matrix(*backend_, random_, rows, 1),
                    residual = random_matrix(*backend_, random_, rows, tokens);
      for (const bool whole : {false, true}) {
        Epilogue epilogue;
        if (whole) epilogue = {bias.tensor, Activation::gelu_erf, residual.tensor};
        const Storage wide_x = make_matrix(*backend_, cols, tokens, x),
                      wide_y = make_storage(*backend_, rows, tokens, DType::f32);
        backend_->apply(weight, wide_x.tensor, wide_y.tensor, epilogue);
        const std::vector<double> want = values_of(*backend_, wide_y.tensor), rounded = to_bf16(want);
        ASSERT_TRUE(trusted(want)) << tokens;
        for (const bool aligned : {true, false}) {
          const Storage inner_x = inner(cols, tokens, x, aligned),
                        inner_y = inner(rows, tokens, std::vector<double>(want.size()), aligned);
          backend_->fill(wide_y.tensor, 0);
          backend_->apply(weight, inner_x.tensor, wide_y.tensor, epilogue);
          EXPECT_EQ(values_of(*backend_, wide_y.tensor), want) << tokens << " tokens, x";
          backend_->apply(weight, wide_x.tensor, inner_y.tensor, epilogue);
          EXPECT_EQ(values_of(*backend_, inner_y.tensor), rounded) << tokens << " tokens, y";
          backend_->fill(inner_y.tensor, 0);
          backend_->apply(weight, inner_x.tensor, inner_y.tensor, epilogue);
          EXPECT_EQ(values_of(*backend_, inner_y.tensor), rounded) << tokens << " tokens, both";
        }
      }
    }
  }
  std::unique_ptr<Backend> backend_;
  RandomSource random_{12};
};

TEST_F(BetweenProducts, EveryFormOfADenseWeightTakesAndGivesThem) {
  std::int64_t rows = 130;
  for (const char* form : {"dense-bf16", "dense, fused, warpgroups", "dense, fused, 256 x 128",
                           "dense, fused, 128 x 128", "dense, fused, 64 x 64", "dense, fused, 32 x 32"}) {
    SCOPED_TRACE(form);
    const std::int64_t cols = 75;
    const Storage w = random_matrix(*backend_, random_, ++rows, cols);
    remember(*backend_, {rows, cols, rows * cols, "bf16, dense"}, form);
    expect_same(*backend_->prepare_dense(w.tensor), rows, cols);
  }
}

TEST_F(BetweenProducts, EveryFormOfASparseWeightTakesAndGivesThem) {
  std::int64_t rows = 70;
  for (const char* form : {"csr", "csr, 8 lanes a row", "csr, 32 tokens", "csr, 128 tokens", "csr, 256 tokens",
                           "csr, tiles of 64", "csr, tiles of 128", "dense-bf16"}) {
    SCOPED_TRACE(form);
    Scene s(*backend_, static_cast<std::uint64_t>(++rows), 10);
    const CsrPattern pattern = s.pattern(rows, 90, 0.3);
    const Storage values = random_matrix(*backend_, random_, 1, pattern.nnz);
    remember(*backend_, {rows, 90, pattern.nnz, "bf16"}, form);
    const auto weight = backend_->prepare_csr(pattern, values.tensor);
    for (const TunedTime& time : weight->tuning()) EXPECT_EQ(time.chosen, time.kernel == form) << time.kernel;
    expect_same(*weight, rows, 90);
  }
}

// Of two heads of few features, of as many as tensor cores take, and of more. Tiles of keys that are copied 8 at a time
// begin elsewhere where a sequence does not begin at a multiple of 8, and probabilities are rounded in other tiles.
TEST_F(BetweenProducts, AttentionTakesAndGivesThem) {
  const std::vector<std::int32_t> anywhere{0, 5, 5, 70, 71, 140}, eights{0, 8, 8, 72, 80, 141};
  for (const auto& [features, aligned, starts] : {std::tuple{7, true, eights},
                                                  {20, true, eights},
                                                  {20, true, anywhere},
                                                  {20, false, anywhere},
                                                  {64, true, eights},
                                                  {64, true, anywhere},
                                                  {64, false, eights},
                                                  {70, true, anywhere}}) {
    SCOPED_TRACE(text(features, aligned ? ", aligned, to " : ", to ", starts.back()));
    const std::int64_t rows = 2 * features, tokens = starts.back();
    const Storage places = make_indices(*backend_, starts);
    Storage wide[3], narrow[3];
    for (int i = 0; i < 3; ++i) {
      const std::vector<double> values = to_bf16(random_.normals(rows * tokens));
      wide[i] = make_matrix(*backend_, rows, tokens, values);
      narrow[i] = inner(rows, tokens, values, aligned);
    }
    const Storage there = make_storage(*backend_, rows, tokens, DType::f32),
                  inner_there =
                      inner(rows, tokens, std::vector<double>(static_cast<std::size_t>(rows * tokens)), aligned);
    backend_->attention({2, features}, wide[0].tensor, wide[1].tensor, wide[2].tensor, places.tensor, {}, there.tensor,
                        {});
    backend_->attention({2, features}, narrow[0].tensor, narrow[1].tensor, narrow[2].tensor, places.tensor, {},
                        inner_there.tensor, {});
    const std::vector<double> want = to_bf16(values_of(*backend_, there.tensor)),
                              got = values_of(*backend_, inner_there.tensor);
    EXPECT_TRUE(trusted(want));
    if (features > 64 || !aligned || starts == eights) {
      EXPECT_EQ(got, want);
    } else {
      double largest = 0;
      for (const double value : values_of(*backend_, wide[2].tensor)) largest = std::max(largest, std::abs(value));
      for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 0x1p-7 * largest) << i;
    }
  }
}

TEST_F(BetweenProducts, ColumnsArePicked) {
  const std::vector<double> values = to_bf16(random_.normals(5 * 9));
  const Storage x = inner(5, 9, values, false), y = inner(5, 3, std::vector<double>(15), true),
                index = make_indices(*backend_, {8, 0, 4});
  backend_->gather_columns(x.tensor, index.tensor, y.tensor);
  std::vector<double> want;
  for (std::size_t row = 0; row < 5; ++row) {
    for (const std::size_t column : {8, 0, 4}) want.push_back(values[row * 9 + column]);
  }
  EXPECT_EQ(values_of(*backend_, y.tensor), want);
}

}  // namespace
}  // namespace bertx::test
