// The tree keeps its shape: dependencies go one way, public headers stay free of third parties, files stay readable.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tree.h"

namespace bertx::test {
namespace {

const fs::path kRoot = BERTX_SOURCE_DIR;
// Private to bertx as a whole, not to one package: the strict JSON reader; copies between host and backend; the update
// that `bertx bench` times and the tolerance that it checks by; the lock and the checksums by which `bertx compress`
// goes on with a directory, so that there is one of each; what composite weights are made of; the kernels of
// sparse/cuda, which the cuda backend calls and which public headers cannot name.
const std::vector<std::string> kShared{"io/json.h",           "weights/host_copy.h",     "train/update_step.h",
                                       "core/tolerance.h",    "train/directory_lock.h",  "train/crc32c.h",
                                       "train/examples.h",    "weights/parts.h",         "cuda/launch.h",
                                       "cuda/tiled_layout.h", "cuda/device.cuh",         "cuda/numbers.cuh",
                                       "cuda/tile.cuh",       "cuda/structured_layout.h"};

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

TEST(Structure, DependenciesGoOneWay) { EXPECT_EQ(joined(wrong_includes(kRoot, kShared)), ""); }
TEST(Structure, PublicHeadersNameNoThirdParty) { EXPECT_EQ(joined(foreign_public_includes(kRoot)), ""); }
TEST(Structure, FilesAreReadable) { EXPECT_EQ(joined(long_files(kRoot, 400)), ""); }
TEST(Structure, NothingIsLeftToBeDone) { EXPECT_EQ(joined(unfinished_lines(kRoot)), ""); }

TEST(Structure, SourcesAreFound) {
  for (const std::string_view package : kPackages) EXPECT_GE(sources_of(kRoot / package).size(), 5u) << package;
}

/// Each rule is shown to fail on a planted violation.
class PlantedTree : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "bertx-structure-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root = pattern;
    put("engine/include/bertx/model.h", "");
    put("engine/io/json.h", "");
    put("engine/io/secret.h", "");
    put("compress/include/bertx/compress.h", "#include \"bertx/model.h\"\n");
    put("compress/good.cpp", "#include \"bertx/compress.h\"\n#include \"io/json.h\"\n#include <vector>\n");
    ASSERT_EQ(joined(wrong_includes(root, kShared)), "");
  }
  void TearDown() override { fs::remove_all(root); }
  void put(const std::string& name, const std::string& text) {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  }
  fs::path root;
};

TEST_F(PlantedTree, AnIncludeAgainstTheDirectionIsFound) {
  put("engine/bad.cpp", "#include \"bertx/compress.h\"\n");
  EXPECT_EQ(joined(wrong_includes(root, kShared)), "engine/bad.cpp includes bertx/compress.h of compress\n");
}

TEST_F(PlantedTree, AnIncludeOfAnotherPackagesPrivateHeaderIsFound) {
  put("compress/bad.cpp", "#include \"io/secret.h\"\n");
  EXPECT_EQ(joined(wrong_includes(root, kShared)), "compress/bad.cpp includes io/secret.h of engine\n");
}

TEST_F(PlantedTree, AThirdPartyInAPublicHeaderIsFound) {
  put("engine/include/bertx/bad.h", "#include <dnnl.hpp>\n");
  EXPECT_EQ(joined(foreign_public_includes(root)), "engine/include/bertx/bad.h includes dnnl.hpp\n");
}

TEST_F(PlantedTree, ALongFileAndAnOpenEndAreFound) {
  put("sparse/long.cpp", std::string(401, '\n'));
  put("tools/open.cpp", std::string("// TO") + "DO later\n");
  EXPECT_EQ(joined(long_files(root, 400)), "sparse/long.cpp: 401 lines\n");
  EXPECT_EQ(joined(unfinished_lines(root)), std::string("tools/open.cpp:1: TO") + "DO\n");
}

}  // namespace
}  // namespace bertx::test
