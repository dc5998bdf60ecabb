// A layer whose heads are narrower than hidden / heads has no plain form of its own: filled up it says the same.
#include <gtest/gtest.h>

#include "bertx/error.h"
#include "tiny.h"

namespace bertx {
namespace {

using test::logits_of;

// Layer 0 with `heads` heads of `width` features instead of 3 of 4.
Model narrow(Backend& backend, std::int64_t heads, std::int64_t width) {
  Model model = make_model(backend, test::tiny_config(test::tiny_heads().front()), 3);
  test::RandomSource random(8);
  const auto made = [&](std::int64_t rows, std::int64_t cols) {
    auto p = std::make_shared<Parameter>();
    p->value = test::random_matrix(backend, random, rows, cols, 0.5);
    return p;
  };
  EncoderLayer& layer = model.layers[0];
  for (Linear* linear : {&layer.query, &layer.key, &layer.value}) {
    *linear = {std::make_shared<DenseWeight>(made(heads * width, model.config.hidden)), made(heads * width, 1)};
  }
  layer.attention_output.weight = std::make_shared<DenseWeight>(made(model.config.hidden, heads * width));
  layer.shape = model.config.layers[0] = {heads, width, model.config.ffn};
  model.refresh(backend);
  return model;
}

TEST(NarrowHeads, APlainDirectorySaysTheSame) {
  const auto backend = make_reference_backend();
  for (const auto& [heads, width] : {std::pair{3, 2}, {2, 3}, {1, 4}, {1, 1}}) {
    Model model = narrow(*backend, heads, width);
    const Batch batch = test::tiny_batch(model, 5);
    const std::vector<double> want = logits_of(*backend, model, batch);
    const test::TemporaryDirectory native, plain;
    save_model(*backend, model, native.path(), ExportForm::native);
    save_model(*backend, model, plain.path(), ExportForm::dense);
    EXPECT_TRUE(
        test::all_near(logits_of(*backend, load_model(*backend, native.path()), batch), want, DType::f32, 64, 1));
    const Model again = load_model(*backend, plain.path());
    EXPECT_FALSE(again.config.uneven());
    EXPECT_TRUE(test::all_near(logits_of(*backend, again, batch), want, DType::f32, 64, 1)) << heads << " of " << width;

    // Without the scale of the queries it would not.
    Model planted = load_model(*backend, plain.path());
    if (width == 4) continue;
    Tensor query = dynamic_cast<DenseWeight&>(*planted.layers[0].query.weight).parameter()->tensor();
    std::vector<double> values = test::values_of(*backend, query);
    for (double& value : values) value *= std::sqrt(width / 4.0);
    backend->upload(view(values.data(), query.rows, query.cols, DType::f64), query);
    planted.refresh(*backend);
    EXPECT_FALSE(test::all_near(logits_of(*backend, planted, batch), want, DType::f32, 64, 1)) << heads;
  }
}

TEST(NarrowHeads, WiderOnesAreRefused) {
  const auto backend = make_reference_backend();
  Model model = narrow(*backend, 1, 5);
  const test::TemporaryDirectory directory;
  try {
    save_model(*backend, model, directory.path(), ExportForm::dense);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("layer 0: found 1 heads of 5"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace bertx
