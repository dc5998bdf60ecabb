// Weights as users meet them: the lines of Python in engine/io/FORMAT.md, files with NaN, 16-bit files.
#include <cmath>
#include <limits>

#include "bertx/safetensors.h"
#include "command.h"
#include "core/float16.h"

namespace bertx::test {
namespace {

/// Rewrites the weights of a model directory, each tensor changed by `change`.
void rewrite(const fs::path& directory, const std::function<void(TensorToWrite&, std::vector<float>&)>& change) {
  const SafetensorsFile file = SafetensorsFile::open(directory / "model.safetensors", Access::read);
  std::vector<TensorToWrite> tensors;
  std::vector<std::vector<float>> values;
  values.reserve(file.entries().size());
  for (const TensorEntry& entry : file.entries()) {
    const auto* from = static_cast<const float*>(entry.data);
    values.emplace_back(from, from + entry.elements());
    tensors.push_back({entry.name, entry.type, entry.shape, nullptr});
    change(tensors.back(), values.back());
    if (tensors.back().data == nullptr) tensors.back().data = values.back().data();
  }
  write_safetensors(directory / "model.safetensors", tensors);
}

std::string python_of(const std::string& markdown) {
  const std::size_t begin = markdown.find("```python\n") + 10;
  return markdown.substr(begin, markdown.find("```", begin) - begin);
}

TEST_F(ToolsTest, ThePythonOfTheFormatPageRebuildsEveryMatrix) {
  std::string python;
  for (const char* candidate : {"/usr/bin/python3", "python3"}) {
    if (std::system((std::string(candidate) + " -c 'import numpy, sys; assert sys.version_info >= (3, 9)' 2>/dev/null")
                        .c_str()) == 0) {
      python = candidate;
      break;
    }
  }
  if (python.empty()) GTEST_SKIP() << "no Python 3.9 with numpy on this machine";
  // With many zeros the columns of a wide matrix are smaller than its bitmap: between them both forms are read.
  for (const char* sparsity : {"0.6", "0.97"}) {
    const std::string native = (place / ("native" + std::string(sparsity))).string();
    const std::string dense = (place / ("dense" + std::string(sparsity))).string();
    ASSERT_EQ(bertx({"prune", "--model", model, "--sparsity", sparsity, "--output_dir", native}).code, 0);
    ASSERT_EQ(
        bertx({"prune", "--model", model, "--sparsity", sparsity, "--export", "dense", "--output_dir", dense}).code, 0);
    write_all(place / "check.py", python_of(read_all(fs::path(BERTX_SOURCE_DIR) / "engine/io/FORMAT.md")) + R"(
import sys
dense = dict(tensors(sys.argv[2] + "/model.safetensors"))
count = 0
for name, matrix in sparse_matrices(sys.argv[1] + "/model.safetensors"):
    assert (matrix == dense[name]).all() and (matrix != 0).any(), name
    count += 1
names = [n for n, _ in tensors(sys.argv[1] + "/model.safetensors")]
print(count, any(n.endswith(".bitmap") for n in names), any(n.endswith(".col_indices") for n in names))
)");
    const std::string out = (place / "python.out").string();
    ASSERT_EQ(
        std::system((python + " " + (place / "check.py").string() + " " + native + " " + dense + " >" + out).c_str()),
        0);
    EXPECT_HAS(read_all(out), std::string(sparsity) == "0.6" ? "12 True False" : " True\n");
  }
}

TEST_F(ToolsTest, AWeightThatIsNotFiniteIsNamed) {
  const std::string trained = write_tiny_model(place / "nan", {"no", "yes"}).string();
  const std::string name = "bert.encoder.layer.1.output.dense.weight";
  rewrite(trained, [&](TensorToWrite& tensor, std::vector<float>& values) {
    if (tensor.name == name) values[5] = std::numeric_limits<float>::quiet_NaN();
  });
  const std::string out = (place / "out").string();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"predict", "--model", trained},
        {"prune", "--model", trained, "--output_dir", out},
        {"train", "--model", trained, "--train_file", train_file, "--output_dir", out}}) {
    const Outcome outcome = bertx(arguments, {.input = "the film was good .\n", .environment = {}, .output_file = {}});
    EXPECT_EQ(outcome.code, 3) << arguments.front();
    EXPECT_HAS(outcome.err, name);
    EXPECT_HAS(outcome.err, "not finite");
  }
  EXPECT_FALSE(fs::exists(fs::path(out) / "model.safetensors"));
}

TEST_F(ToolsTest, SixteenBitWeightsLoad) {
  const std::string exact = write_tiny_model(place / "exact", {"no", "yes"}).string();
  const auto logits = [&](const std::string& directory) {
    const Json line = bertx({"predict", "--model", directory},
                            {.input = "the film was good .\n", .environment = {}, .output_file = {}})
                          .json();
    return line["logits"].get<std::vector<double>>();
  };
  const std::vector<double> want = logits(exact);
  for (const ElementType type : {ElementType::f16, ElementType::bf16}) {
    const std::string narrow = (place / std::string(name_of(type))).string();
    fs::copy(exact, narrow);
    std::vector<std::vector<std::uint16_t>> halves;
    halves.reserve(1000);
    rewrite(narrow, [&](TensorToWrite& tensor, std::vector<float>& values) {
      std::vector<std::uint16_t>& half = halves.emplace_back();
      for (const float x : values) half.push_back(type == ElementType::f16 ? float_to_f16(x) : float_to_bf16(x));
      tensor.type = type;
      tensor.data = half.data();
    });
    const std::vector<double> got = logits(narrow);
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_NE(got[i], want[i]);
      EXPECT_NEAR(got[i], want[i], type == ElementType::f16 ? 5e-3 : 5e-2);
    }
  }
}

}  // namespace
}  // namespace bertx::test
