// Runs the bertx command as a process of its own, and makes the small model and data that it is given.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "bertx/model.h"
#include "bertx/tokenizer.h"

namespace bertx::test {

using Json = nlohmann::json;
namespace fs = std::filesystem;

inline std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_all(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// A directory of its own for each test, removed with it.
class Workplace {
 public:
  Workplace() {
    std::string pattern = (fs::temp_directory_path() / "bertx-tools-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~Workplace() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Outcome {
  int code = -1;  ///< exit code, or 128 + the signal that ended it
  std::string out, err;
  Json json() const { return Json::parse(out); }
};

struct Process {
  std::string input;  ///< standard input
  std::vector<std::pair<std::string, std::string>> environment;
  std::string output_file;  ///< standard output goes there ("/dev/full"); "closed": it is closed
};

/// Starts `bertx arguments…` with its standard streams on files of `place`; returns the process.
inline pid_t start_bertx(const Workplace& place, const std::vector<std::string>& arguments,
                         const Process& process = {}) {
  write_all(place / "stdin", process.input);
  const std::string out = process.output_file.empty() ? (place / "stdout").string() : process.output_file;
  const std::string err = (place / "stderr").string(), in = (place / "stdin").string();
  std::vector<char*> argv{const_cast<char*>(BERTX_COMMAND)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  for (const auto& [name, value] : process.environment) ::setenv(name.c_str(), value.c_str(), 1);
  ::dup2(::open(in.c_str(), O_RDONLY), 0);
  ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
  if (process.output_file == "closed") {
    ::close(1);
  } else {
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
  }
  ::execv(BERTX_COMMAND, argv.data());
  ::_exit(127);
}

inline int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline Outcome run_bertx(const Workplace& place, const std::vector<std::string>& arguments,
                         const Process& process = {}) {
  Outcome outcome;
  outcome.code = wait_for(start_bertx(place, arguments, process));
  if (process.output_file.empty()) outcome.out = read_all(place / "stdout");
  outcome.err = read_all(place / "stderr");
  return outcome;
}

// ---- a small model and texts that it can learn -------------------------------------------------------------------

inline std::vector<std::string> tiny_vocabulary() {
  return {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "fine", "lovely", "great", "bad",
          "poor",  "dull",  "awful", "a",     "the",    "film", "play", "story",  "was",   "is",
          "very",  "quite", "and",   "of",    "##s",    "##ly", ".",    ",",      "!"};
}

/// A directory of an untrained BERT: 2 layers, 32 hidden, 4 heads, 64 feed-forward, 40 positions, no head.
inline fs::path write_tiny_model(const fs::path& directory, const std::vector<std::string>& labels = {}) {
  fs::create_directories(directory);
  const auto backend = make_cpu_backend();
  const auto vocabulary = tiny_vocabulary();
  Config config = make_config(2, 32, 4, 64, static_cast<std::int64_t>(vocabulary.size()), 40);
  config.initializer_range = 0.2f;  // so that a few steps are enough
  config.hidden_dropout = config.attention_dropout = 0.0f;
  if (!labels.empty()) {
    config.head = HeadKind::sequence_classification;
    config.labels = labels;
  }
  Model model = make_model(*backend, config, 7);
  save_model(*backend, model, directory, ExportForm::dense);
  Tokenizer(vocabulary).save(directory);
  return directory;
}

/// "text<tab>label" rows: the label is whether the adjective is a kind one.
inline std::string tiny_data(int rows, int first = 0) {
  const std::vector<std::string> kind{"good", "fine", "lovely", "great"}, unkind{"bad", "poor", "dull", "awful"};
  const std::vector<std::string> things{"film", "play", "story"}, filler{"very", "quite", "a", "the"};
  std::string out = "text\tlabel\n";
  for (int i = first; i < first + rows; ++i) {
    const bool positive = i % 2 == 0;
    const auto k = static_cast<std::size_t>(i / 2);
    out += "the " + things[k % 3] + " was " + filler[k % 4] + " " + (positive ? kind : unkind)[k % 4] + " .\t" +
           (positive ? "positive" : "negative") + "\n";
  }
  return out;
}

/// A workplace with model/, train.tsv and validation.tsv.
class ToolsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model = write_tiny_model(place / "model").string();
    train_file = (place / "train.tsv").string();
    validation_file = (place / "validation.tsv").string();
    write_all(train_file, tiny_data(64));
    write_all(validation_file, tiny_data(24, 5));
  }
  Outcome bertx(const std::vector<std::string>& arguments, const Process& process = {}) const {
    return run_bertx(place, arguments, process);
  }
  /// train with sensible flags, and `more`.
  std::vector<std::string> train_arguments(const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> out{"train",
                                 "--model_name_or_path",
                                 model,
                                 "--train_file",
                                 train_file,
                                 "--validation_file",
                                 validation_file,
                                 "--output_dir",
                                 (place / output).string(),
                                 "--max_seq_length",
                                 "16",
                                 "--per_device_train_batch_size",
                                 "8",
                                 "--learning_rate",
                                 "2e-3",
                                 "--num_train_epochs",
                                 "6",
                                 "--seed",
                                 "3",
                                 "--threads",
                                 "2"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  Workplace place;
  std::string model, train_file, validation_file;
};

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
#define EXPECT_HAS(text, part) EXPECT_PRED2(::bertx::test::contains, text, part)

}  // namespace bertx::test
