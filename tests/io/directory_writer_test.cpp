// Directories appear complete or not at all, also when the process is killed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <random>

#include "bertx/config.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "io_support.h"

namespace bertx::test {
namespace {

/// A model of which every file says the version.
void write_model(const fs::path& directory, std::int64_t version) {
  write_config(make_config(1, 4, 1, 4, 100 + version), directory);
  const std::vector<float> values(20'000, static_cast<float>(version));
  write_safetensors(directory / "model.safetensors",
                    std::vector<TensorToWrite>{{"w", ElementType::f32, {20'000}, values.data()}});
}

/// The version of a model that is whole; -1 where its files are of different versions.
std::int64_t version_of(const fs::path& directory) {
  const std::int64_t version = read_config(directory).vocab - 100;
  const WeightFiles weights = WeightFiles::open(directory);
  const auto* values = static_cast<const float*>(weights.find("w")->data);
  const bool same = std::all_of(values, values + 20'000, [&](float x) { return x == static_cast<float>(version); });
  return same ? version : -1;
}

void commit_model(const fs::path& target, std::int64_t version) {
  DirectoryWriter writer(target);
  write_model(writer.path(), version);
  writer.commit();
}

/// Runs `action` in a process of its own and returns how it ended.
template <class Action>
int in_child(const Action& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      action();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(99);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(DirectoryWriter, AppearsOnCommitOnly) {
  const TempDir directory;
  const fs::path target = directory / "new/model";
  {
    DirectoryWriter writer(target);
    write_model(writer.path(), 1);
    EXPECT_FALSE(fs::exists(target));
    EXPECT_EQ(writer.path().parent_path(), writer.target().parent_path());
    writer.commit();
    EXPECT_EQ(version_of(target), 1);
  }
  EXPECT_EQ(names_in(directory / "new"), std::vector<std::string>{"model"});
  {
    DirectoryWriter writer(target);
    write_model(writer.path(), 2);
  }
  EXPECT_EQ(version_of(target), 1);
  EXPECT_EQ(names_in(directory / "new"), std::vector<std::string>{"model"});
}

TEST(DirectoryWriter, ReplacesAModel) {
  const TempDir directory;
  const fs::path target = directory / "model";
  commit_model(target, 1);
  write_bytes(target / "optimizer.bin", "old");
  commit_model(target / "", 2);  // a slash at the end changes nothing
  EXPECT_EQ(version_of(target), 2);
  EXPECT_FALSE(fs::exists(target / "optimizer.bin"));
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model"});
  fs::create_directory_symlink(target, directory / "link");
  commit_model(directory / "link", 3);
  EXPECT_TRUE(fs::is_symlink(directory / "link"));
  EXPECT_EQ(version_of(target), 3);
}

TEST(DirectoryWriter, MergeKeepsWhatTheNewDirectoryLacks) {
  const TempDir directory;
  const fs::path target = directory / "out";
  fs::create_directories(target / "checkpoint-1/deep");
  write_bytes(target / "notes.txt", "mine");
  write_bytes(target / "checkpoint-1/deep/state", "s");
  write_bytes(target / "config.json", "old");
  fs::create_symlink("notes.txt", target / "link");
  {
    DirectoryWriter writer(target, Existing::merge);
    write_model(writer.path(), 1);
    writer.commit();
  }
  EXPECT_EQ(version_of(target), 1);
  EXPECT_EQ(read_bytes(target / "notes.txt"), "mine");
  EXPECT_EQ(read_bytes(target / "checkpoint-1/deep/state"), "s");
  EXPECT_TRUE(fs::is_symlink(target / "link"));
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"out"});
}

TEST(DirectoryWriter, RefusesToReplaceWhatIsNotAModel) {
  const TempDir directory;
  write_bytes(directory / "thesis.tex", "x");
  expect_error(ErrorKind::usage, {directory.path(), "other files", "expected"},
               [&] { DirectoryWriter writer(directory.path()); });
  EXPECT_EQ(read_bytes(directory / "thesis.tex"), "x");
  expect_error(ErrorKind::io, {"thesis.tex", "found a file", "expected a directory"},
               [&] { DirectoryWriter writer(directory / "thesis.tex"); });
  expect_error(ErrorKind::io, {"thesis.tex/model"}, [&] { DirectoryWriter writer(directory / "thesis.tex/model"); });
  expect_error(ErrorKind::usage, {"/"}, [&] { DirectoryWriter writer("/"); });
  expect_error(ErrorKind::io, {"/proc/bertx"}, [&] { DirectoryWriter writer("/proc/bertx"); });
}

TEST(DirectoryWriter, ReadOnlyPlaces) {
  const TempDir directory;
  commit_model(directory / "model", 1);
  fs::permissions(directory.path(),
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec);
  const int status = in_child([&] {
    // Root may write everywhere, so the writer is another user.
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(98);
    try {
      DirectoryWriter writer(directory / "model");
    } catch (const Error& error) {
      const bool named = std::string_view(error.what()).find("model: cannot create") != std::string_view::npos;
      if (!named) std::fprintf(stderr, "%s\n", error.what());
      ::_exit(named ? static_cast<int>(error.kind()) : 97);
    }
  });
  fs::permissions(directory.path(), fs::perms::owner_all);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_EQ(version_of(directory / "model"), 1);
}

TEST(DirectoryWriter, TwoWritersTheLaterCommitWinsWhole) {
  const TempDir directory;
  const fs::path target = directory / "model";
  DirectoryWriter first(target), second(target);
  EXPECT_NE(first.path(), second.path());
  write_model(first.path(), 1);
  write_model(second.path(), 2);
  second.commit();
  EXPECT_EQ(version_of(target), 2);
  EXPECT_TRUE(fs::exists(first.path()));  // the other writer did not take it for a stale one
  first.commit();
  EXPECT_EQ(version_of(target), 1);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model"});
}

TEST(DirectoryWriter, KilledBeforeCommitTheOldOneIsWholeAndTheRestIsCleaned) {
  const TempDir directory;
  const fs::path target = directory / "model";
  commit_model(target, 1);
  const int status = in_child([&] {
    DirectoryWriter writer(target);
    write_model(writer.path(), 2);
    ::raise(SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(version_of(target), 1);
  EXPECT_EQ(names_in(directory.path()).size(), 2u);  // what the dead process left
  commit_model(target, 3);
  EXPECT_EQ(version_of(target), 3);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model"});
}

TEST(DirectoryWriter, KilledAtAnyMomentThereIsAWholeModel) {
  const TempDir directory;
  const fs::path target = directory / "model";
  commit_model(target, 0);
  std::mt19937 random(7);
  std::int64_t last = 0;
  // The moments of the kill spread over a few commits, however slow the disk is: the wait grows until versions pass.
  unsigned longest_wait = 2'000;
  int passed = 0;
  for (int round = 0; round < 25 || (passed < 3 && round < 200); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (std::int64_t version = last + 1;; ++version) commit_model(target, version);
    }
    ::usleep(random() % longest_wait);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    const std::int64_t version = version_of(target);
    ASSERT_GE(version, last);
    version > last ? void(++passed) : void(longest_wait = std::min(longest_wait * 3 / 2, 100'000u));
    last = version;
  }
  remove_stale_temporaries(target);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model"});
  EXPECT_GE(passed, 3);
}

TEST(DirectoryWriter, StaleTemporaryFilesOfKilledWritersAreCleaned) {
  const TempDir directory;
  const fs::path path = directory / "state.json";
  write_text_file(path, "old");
  // What a killed process leaves: a file of the temporary's name that nobody holds.
  write_bytes(directory / ".state.json.tmp-1-0", "partial");
  write_bytes(directory / ".other.json.tmp-1-0", "not of this target");
  write_text_file(path, "new");
  EXPECT_EQ(read_bytes(path), "new");
  EXPECT_FALSE(fs::exists(directory / ".state.json.tmp-1-0"));
  EXPECT_TRUE(fs::exists(directory / ".other.json.tmp-1-0"));
}

TEST(DirectoryWriter, AnInterruptedReplacementInTwoStepsIsUndone) {
  const TempDir directory;
  const fs::path target = directory / "model";
  commit_model(target, 1);
  fs::rename(target, directory / ".model.old");
  { DirectoryWriter writer(target); }
  EXPECT_EQ(version_of(target), 1);
}

TEST(DirectoryWriter, AFullDiskLeavesTheOldModel) {
  const TempDir directory;
  const fs::path target = directory / "model";
  commit_model(target, 1);
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit { 16 * 1024, 16 * 1024 };
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      commit_model(target, 2);
    } catch (const Error& error) {
      ::_exit(static_cast<int>(error.kind()));
    }
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_EQ(version_of(target), 1);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model"});
}

}  // namespace
}  // namespace bertx::test
