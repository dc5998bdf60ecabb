// A cuda backend whose tuner finds in its file what a test wants it to choose.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "backend/tuning/tuning_file.h"
#include "scene.h"

namespace bertx::test {

class RememberedTuning : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    ::setenv("BERTX_TUNE", "on", 1);
    ::setenv("BERTX_TUNE_FILE", (directory() / "tuning.json").c_str(), 1);
  }
  void TearDown() override {
    ::setenv("BERTX_TUNE", "off", 1);
    ::unsetenv("BERTX_TUNE_FILE");
    CudaTest::TearDown();
  }

  /// As if an earlier process had found `best` twice as fast as all others for any number of tokens; of a shape that no
  /// test has asked for before.
  void remember(Backend& backend, const WeightShape& shape, const std::string& best) const {
    std::string device(backend.description().substr(std::string("cuda: ").size()));
    if (const auto options = device.find(" products"); options != std::string::npos) {  // "…, bf16 products"
      device.resize(device.rfind(", ", options));
    }
    Timings timings;
    for (const std::int64_t tokens : {1, 8, 32, 128, 512, 2048}) {
      for (const char* name :
           {"csr", "csr, 8 lanes a row", "csr, 32 tokens", "csr, 128 tokens", "csr, 256 tokens", "csr, tiles of 64",
            "csr, tiles of 128", "2:4", "dense", "dense-bf16", "dense, fused, warpgroups", "dense, fused, 256 x 128",
            "dense, fused, 128 x 128", "dense, fused, 64 x 64", "dense, fused, 32 x 32"}) {
        timings[tokens][name] = name == best ? 1 : 2;
      }
    }
    TuningFile((directory() / "tuning.json.cuda").string(), {device, "cuda"}).put(key_of(shape), timings);
  }

 private:
  /// Of this process, whose backends read one file.
  static const std::filesystem::path& directory() {
    struct Temporary {
      Temporary() {
        std::string pattern = (std::filesystem::temp_directory_path() / "bertx-tuning-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
        path = pattern;
      }
      ~Temporary() { std::filesystem::remove_all(path); }
      std::filesystem::path path;
    };
    static const Temporary made;
    return made.path;
  }
};

}  // namespace bertx::test
