// Checkpoints that are damaged, foreign or from the future: clear errors, and the older good one instead.
#include "train/checkpoint.h"

#include <sys/resource.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "bertx/safetensors.h"
#include "fixture.h"
#include "train/crc32c.h"

namespace bertx::test {
namespace {

namespace fs = std::filesystem;

/// A training of 8 steps with checkpoints after 4 and 8.
struct Checkpoints : testing::Test {
  std::unique_ptr<Backend> backend = make_cpu_backend();
  std::vector<EncodedExample> examples = separable_examples(32, 31);
  TemporaryDirectory directory;
  TrainOptions options;
  fs::path older, newer;

  void SetUp() override {
    options.output_dir = directory / "out";
    options.per_device_train_batch_size = 4;
    options.num_train_epochs = 1;
    options.save_steps = 4;
    options.logging_steps = 0;
    resume();
    older = options.output_dir / "checkpoint-4";
    newer = options.output_dir / "checkpoint-8";
    ASSERT_NO_THROW(verify_checkpoint(newer));
    options.resume_from_checkpoint = "true";
  }
  TrainResult resume(TrainHook* hook = nullptr, Recorder* recorder = nullptr) {
    Model model = make_model(*backend, small_config(), 1);
    return train(*backend, model, nullptr, {examples, {}, LabelKind::single_label, {}, 1}, options, hook, recorder);
  }
  /// `newer` is damaged: named it is an error that names `part`, else the older one takes over with a warning.
  void expect_unusable(const std::string& part) {
    options.resume_from_checkpoint = newer;
    const Thrown thrown = thrown_by([&] { resume(); });
    EXPECT_EQ(thrown.kind, ErrorKind::bad_input) << thrown.text;
    EXPECT_NAMES(thrown, part);
    std::vector<std::string> skipped;
    EXPECT_EQ(find_last_checkpoint(options.output_dir, &skipped), older);
    ASSERT_EQ(skipped.size(), 1u);
    EXPECT_NE(skipped[0].find(part), std::string::npos) << skipped[0];
  }
  void edit_json(const fs::path& path, const std::function<void(nlohmann::json&)>& edit) {
    auto json = nlohmann::json::parse(read_bytes(path));
    edit(json);
    write_bytes(path, json.dump(2) + "\n");
  }
  /// Changes a file as somebody would who keeps the manifest right.
  void vouch(const fs::path& file) {
    edit_json(file.parent_path() / kManifest, [&](nlohmann::json& manifest) {
      const FileChecksum sum = checksum_file(file);
      manifest["files"][file.filename().string()] = {{"bytes", sum.bytes}, {"crc32c", crc_text(sum.crc)}};
    });
  }
};

TEST_F(Checkpoints, HoldWhatTheyShould) {
  for (const char* name :
       {"config.json", "model.safetensors", kOptimizerFile, kTrainerState, kTrainingArgs, kBertxState, kManifest}) {
    EXPECT_TRUE(fs::is_regular_file(newer / name)) << name;
  }
  const auto state = nlohmann::json::parse(read_bytes(older / kTrainerState));
  EXPECT_EQ(state["global_step"], 4);
  EXPECT_EQ(state["max_steps"], 8);
  EXPECT_EQ(state["epoch"], 0.5);
  EXPECT_EQ(nlohmann::json::parse(read_bytes(older / kTrainingArgs))["learning_rate"], 5e-5);
  const SafetensorsFile moments = SafetensorsFile::open(older / kOptimizerFile);
  EXPECT_NE(moments.find("classifier.weight.exp_avg"), nullptr);
  EXPECT_NE(moments.find("classifier.weight.exp_avg_sq"), nullptr);
}

TEST_F(Checkpoints, EveryFileTruncated) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(newer)) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 7u);
  for (const fs::path& file : files) {
    const std::string good = read_bytes(file);
    for (const std::size_t size : {good.size() - 2, good.size() / 2, std::size_t{0}}) {
      write_bytes(file, good.substr(0, size));
      expect_unusable(file.filename().string());
    }
    write_bytes(file, good);
  }
  EXPECT_EQ(find_last_checkpoint(options.output_dir), newer);
}

TEST_F(Checkpoints, EveryFileMissing) {
  for (const char* name :
       {"config.json", "model.safetensors", kOptimizerFile, kTrainerState, kTrainingArgs, kBertxState, kManifest}) {
    const std::string good = read_bytes(newer / name);
    fs::remove(newer / name);
    expect_unusable(name);
    write_bytes(newer / name, good);
  }
}

TEST_F(Checkpoints, OneFlippedBit) {
  RandomSource random(7);
  for (const char* name :
       {"config.json", "model.safetensors", kOptimizerFile, kTrainerState, kTrainingArgs, kBertxState}) {
    const std::string good = read_bytes(newer / name);
    for (int trial = 0; trial < 3; ++trial) {
      std::string bad = good;
      char& byte = bad[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(good.size()) - 1))];
      byte = static_cast<char>(byte ^ (1 << random.integer(0, 7)));
      write_bytes(newer / name, bad);
      expect_unusable(name);
    }
    write_bytes(newer / name, good);
  }
}

TEST_F(Checkpoints, AFlippedBitOfTheManifestNeverPassesWrongData) {
  const std::string good = read_bytes(newer / kManifest);
  const auto meaning = nlohmann::json::parse(good);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    write_bytes(newer / kManifest, bad);
    try {
      verify_checkpoint(newer);
      // Blanks, or a version 0 < v <= 1, at most: what it vouches for must be the same.
      EXPECT_EQ(nlohmann::json::parse(bad)["files"], meaning["files"]) << "byte " << i;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input) << error.what();
    }
  }
}

TEST_F(Checkpoints, TheOlderGoodOneTakesOver) {
  const std::string good = read_bytes(newer / "model.safetensors");
  write_bytes(newer / "model.safetensors", good.substr(0, 100));
  Recorder recorder;
  const TrainResult result = resume(nullptr, &recorder);
  ASSERT_EQ(recorder.warnings.size(), 1u);
  EXPECT_NE(recorder.warnings[0].find("checkpoint-8"), std::string::npos);
  EXPECT_EQ(result.warnings, recorder.warnings);
  EXPECT_EQ(recorder.steps.front().state.step, 5);
  EXPECT_TRUE(read_bytes(newer / "model.safetensors") == good) << "training went on to other parameters";
}

TEST_F(Checkpoints, NoneIsGood) {
  fs::remove(older / kManifest);
  fs::remove(newer / kOptimizerFile);
  const Thrown thrown = thrown_by([&] { resume(); });
  EXPECT_EQ(thrown.kind, ErrorKind::bad_input);
  EXPECT_NAMES(thrown, "no usable checkpoint");
  EXPECT_NAMES(thrown, kManifest);
  EXPECT_NAMES(thrown, kOptimizerFile);
  options.resume_from_checkpoint = directory / "nowhere";
  EXPECT_EQ(thrown_by([&] { resume(); }).kind, ErrorKind::bad_input);
}

TEST_F(Checkpoints, AFutureVersion) {
  edit_json(newer / kManifest, [](nlohmann::json& manifest) { manifest["version"] = 2; });
  expect_unusable("found format version 2, expected at most 1");
}

TEST_F(Checkpoints, AManifestThatLeavesTheDirectory) {
  edit_json(newer / kManifest, [](nlohmann::json& manifest) {
    manifest["files"]["../config.json"] = {{"bytes", 1}, {"crc32c", "0"}};
  });
  expect_unusable("../config.json");
}

TEST_F(Checkpoints, AnOptimizerOfAnotherShape) {
  const SafetensorsFile file = SafetensorsFile::open(newer / kOptimizerFile, Access::read);
  options.resume_from_checkpoint = newer;
  const auto refused = [&](const std::function<void(std::vector<TensorToWrite>&)>& change, const std::string& part) {
    std::vector<TensorToWrite> tensors;
    for (const TensorEntry& entry : file.entries())
      tensors.push_back({entry.name, entry.type, entry.shape, entry.data});
    change(tensors);
    write_safetensors(newer / kOptimizerFile, tensors);
    vouch(newer / kOptimizerFile);
    const Thrown thrown = thrown_by([&] { resume(); });
    EXPECT_EQ(thrown.kind, ErrorKind::bad_input);
    EXPECT_NAMES(thrown, part);
  };
  const auto find = [](std::vector<TensorToWrite>& tensors, const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(),
                        [&](const TensorToWrite& tensor) { return tensor.name == name; });
  };
  const std::string name = "classifier.weight.exp_avg";
  refused(
      [&](auto& tensors) {
        find(tensors, name)->shape = {16, 2};
      },
      name + ": found F32 [16, 2], expected F32 [2, 16]");
  refused([&](auto& tensors) { tensors.erase(find(tensors, name)); }, "found no " + name);
  refused([&](auto& tensors) { tensors.push_back({"more", ElementType::f32, {0}, nullptr}); }, "tensors, expected");
  std::vector<float> nan(32, std::numeric_limits<float>::quiet_NaN());
  refused([&](auto& tensors) { find(tensors, name)->data = nan.data(); }, name);
}

TEST_F(Checkpoints, AMaskOrModelOfAnotherShape) {
  edit_json(newer / "config.json", [](nlohmann::json& config) { config["vocab_size"] = 41; });
  vouch(newer / "config.json");
  options.resume_from_checkpoint = newer;
  EXPECT_EQ(thrown_by([&] { resume(); }).kind, ErrorKind::bad_input);
}

TEST_F(Checkpoints, StatesThatContradictEachOther) {
  options.resume_from_checkpoint = newer;
  edit_json(newer / kTrainerState, [](nlohmann::json& state) { state["global_step"] = 5; });
  vouch(newer / kTrainerState);
  EXPECT_NAMES(thrown_by([&] { resume(); }), "global_step");
  options.resume_from_checkpoint = older;
  edit_json(older / kBertxState, [](nlohmann::json& state) { state["sampler"]["batch"] = 5; });
  vouch(older / kBertxState);
  EXPECT_NAMES(thrown_by([&] { resume(); }), "sampler: batch");
}

// ---- what must be the same when training goes on --------------------------------------------------------------------

TEST_F(Checkpoints, OtherData) {
  examples[5].label = 1 - examples[5].label;
  const Thrown thrown = thrown_by([&] { resume(); });
  EXPECT_EQ(thrown.kind, ErrorKind::bad_input);
  EXPECT_NAMES(thrown, "other data");
}

TEST_F(Checkpoints, OtherSeedOrBatches) {
  const TrainOptions good = options;
  const auto refused = [&](const char* name) {
    const Thrown thrown = thrown_by([&] { resume(); });
    EXPECT_EQ(thrown.kind, ErrorKind::usage);
    EXPECT_NAMES(thrown, name);
    options = good;
  };
  options.seed = 43;
  refused("seed: found 43, expected 42");
  options.per_device_train_batch_size = 2;
  refused("per_device_train_batch_size: found 2, expected 4");
  options.gradient_accumulation_steps = 2;
  refused("gradient_accumulation_steps");
  options.freeze_embeddings = true;
  refused("freeze_embeddings");
  options.max_steps = 6;
  refused("step 8, expected at most 6");
}

TEST_F(Checkpoints, OtherWorldSize) {
  edit_json(newer / kBertxState, [](nlohmann::json& state) { state["world_size"] = 4; });
  vouch(newer / kBertxState);
  EXPECT_NAMES(thrown_by([&] { resume(); }), "world_size");
}

TEST_F(Checkpoints, WithAndWithoutCompression) {
  MaskingHook hook;
  EXPECT_NAMES(thrown_by([&] { resume(&hook); }), "without a compression method");
}

TEST_F(Checkpoints, AnotherLearningRateIsAWarning) {
  options.learning_rate = 1e-4;
  options.num_train_epochs = 2;
  Recorder recorder;
  const TrainResult result = resume(nullptr, &recorder);
  EXPECT_EQ(result.state.step, 16);
  ASSERT_EQ(recorder.warnings.size(), 2u);
  EXPECT_NE(recorder.warnings[0].find("learning_rate was 5e-05"), std::string::npos) << recorder.warnings[0];
  EXPECT_NE(recorder.warnings[1].find("num_train_epochs"), std::string::npos);
}

// ---- a full disk and a killed process -------------------------------------------------------------------------------

/// Files may grow to `bytes` and no further: the writer of a longer one sees an error, or SIGXFSZ where that is fatal.
struct FileSizeLimit {
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &former);
    const rlimit limit{bytes, former.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &former); }
  rlimit former{};
};
constexpr rlim_t kModelButNotMoments = 40000;

TEST_F(Checkpoints, AFullDiskKeepsTheLastOne) {
  ASSERT_LT(fs::file_size(newer / "model.safetensors"), kModelButNotMoments);
  ASSERT_GT(fs::file_size(newer / kOptimizerFile), kModelButNotMoments);
  options.num_train_epochs = 2;
  const auto former = signal(SIGXFSZ, SIG_IGN);
  {
    const FileSizeLimit limit(kModelButNotMoments);
    const Thrown thrown = thrown_by([&] { resume(); });
    EXPECT_EQ(thrown.kind, ErrorKind::io) << thrown.text;
  }
  signal(SIGXFSZ, former);
  EXPECT_EQ(find_last_checkpoint(options.output_dir), newer);
  std::int64_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(options.output_dir)) ++entries;
  EXPECT_EQ(entries, 2 + 4) << "two checkpoints and the final files of the first training, nothing else";
  EXPECT_EQ(resume().state.step, 16);
}

/// The directory is named by the environment, since the process that dies is another run of this program.
TEST(CheckpointsDeathTest, AProcessKilledWhileItWritesOne) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const char* kName = "BERTX_TEST_KILLED_TRAINING";
  std::optional<TemporaryDirectory> own;
  if (!std::getenv(kName)) setenv(kName, own.emplace().path().c_str(), 1);
  const fs::path output = fs::path(std::getenv(kName)) / "out";
  const auto run = [&](bool resume, rlim_t limit_at_step_5) {
    auto backend = make_cpu_backend();
    const std::vector<EncodedExample> examples = separable_examples(32, 31);
    Model model = make_model(*backend, small_config(), 1);
    TrainOptions options;
    options.output_dir = output;
    options.per_device_train_batch_size = 4;
    options.num_train_epochs = 1;
    options.save_steps = 4;
    if (resume) options.resume_from_checkpoint = "true";
    std::optional<FileSizeLimit> limit;
    Recorder recorder;
    recorder.at_step = [&](const StepReport& report) {
      if (limit_at_step_5 > 0 && report.state.step == 5) limit.emplace(limit_at_step_5);
    };
    return train(*backend, model, nullptr, {examples, {}, LabelKind::single_label, {}, 1}, options, nullptr, &recorder);
  };
  EXPECT_EXIT(run(false, kModelButNotMoments), testing::KilledBySignal(SIGXFSZ), "");
  EXPECT_EQ(find_last_checkpoint(output), output / "checkpoint-4");
  EXPECT_FALSE(fs::exists(output / "checkpoint-8"));
  EXPECT_EQ(run(true, 0).state.step, 8);
  EXPECT_NO_THROW(verify_checkpoint(output / "checkpoint-8"));
  for (const auto& entry : fs::directory_iterator(output)) {
    EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path() << " was left behind";
  }
  unsetenv(kName);
}

TEST_F(Checkpoints, LeftoversAreCleaned) {
  fs::create_directories(options.output_dir / ".removed-checkpoint-2");
  write_bytes(options.output_dir / ".removed-checkpoint-2" / "x", "x");
  fs::create_directories(options.output_dir / "checkpoint-x");
  fs::create_directories(options.output_dir / "checkpoint-99");  // nothing in it: never finished
  Recorder recorder;
  resume(nullptr, &recorder);
  EXPECT_FALSE(fs::exists(options.output_dir / ".removed-checkpoint-2"));
  EXPECT_TRUE(fs::exists(options.output_dir / "checkpoint-x"));
  EXPECT_EQ(recorder.warnings.size(), 1u);
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8A9136AAu);
  EXPECT_EQ(crc32c("6789", 4, crc32c("12345", 5)), 0xE3069283u);
  EXPECT_EQ(crc_text(0x0A1B2C3Du), "0a1b2c3d");
}

}  // namespace
}  // namespace bertx::test
