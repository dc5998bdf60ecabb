// Zeros of dense matrices, taken out where the file gets smaller.
#include <gtest/gtest.h>

#include "bertx/compress.h"
#include "bertx/safetensors.h"
#include "model/tiny.h"

namespace bertx::compress {
namespace {

using test::logits_of;

TEST(CompactZeros, TakesThemOutWhereTheFileGetsSmaller) {
  const auto backend = make_reference_backend();
  Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
  test::randomise_vectors(*backend, model, 4);
  // Layer 0: a tenth of each matrix is zero, layer 1: nothing; one weight is shared.
  model.layers[1].key = model.layers[0].key;
  for (Linear* linear : {&model.layers[0].query, &model.layers[0].key, &model.layers[0].ffn_in}) {
    const Tensor w = dynamic_cast<DenseWeight&>(*linear->weight).parameter()->tensor();
    for (std::int64_t e = 0; e < w.size(); e += 10) w.as<double>()[e] = 0;
  }
  model.refresh(*backend);
  const Batch batch = test::tiny_batch(model, 5);
  const std::vector<double> before = logits_of(*backend, model, batch);
  const test::TemporaryDirectory dense, compact;
  save_model(*backend, model, dense.path(), ExportForm::native);
  compact_zeros(*backend, model);
  save_model(*backend, model, compact.path(), ExportForm::native);

  EXPECT_EQ(model.layers[0].query.weight->kind(), "csr");
  EXPECT_EQ(model.layers[0].query.weight->nonzeros(*backend), 144 - 15);
  EXPECT_EQ(model.layers[1].query.weight->kind(), "dense");
  EXPECT_EQ(model.layers[0].key.weight, model.layers[1].key.weight);
  EXPECT_EQ(model.layers[0].key.weight->kind(), "csr");
  EXPECT_TRUE(test::all_near(logits_of(*backend, model, batch), before, DType::f64, 12, 1));
  const auto tensor_bytes = [](const std::filesystem::path& path) {
    std::int64_t bytes = 0;
    const SafetensorsFile file = SafetensorsFile::open(path / "model.safetensors", Access::read);
    for (const TensorEntry& entry : file.entries()) bytes += static_cast<std::int64_t>(entry.bytes);
    return bytes;
  };
  EXPECT_LT(tensor_bytes(compact.path()), tensor_bytes(dense.path()));
}

TEST(CompactZeros, LeavesOtherKindsAndEmptyMatricesAlone) {
  const auto backend = make_reference_backend();
  for (const char* kind : {"low_rank", "sum", "csr", "no_heads", "few_neurons", "tucker"}) {
    Model model = make_model(*backend, test::tiny_config(test::tiny_heads().front()), 3);
    test::represent(*backend, model, kind, 6);
    std::vector<const LinearWeight*> before, after;
    model.visit_linears([&](const std::string&, Linear& l) { before.push_back(l.weight.get()); });
    compact_zeros(*backend, model);
    model.visit_linears([&](const std::string&, Linear& l) { after.push_back(l.weight.get()); });
    EXPECT_EQ(before, after) << kind;
  }
}

}  // namespace
}  // namespace bertx::compress
