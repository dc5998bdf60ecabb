#include "recipe/state.h"

#include <algorithm>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/safetensors.h"
#include "common/log.h"
#include "io/json.h"
#include "train/crc32c.h"
#include "train/examples.h"

namespace bertx::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kState = "compress_state.json";
constexpr std::int64_t kVersion = 1;
constexpr std::uint64_t kMostBytes = 16u << 20;

/// What a state file says of one step.
struct SavedStep {
  std::string name, identity;
  bool finished = false;
};
struct SavedState {
  std::string model, data;
  std::vector<SavedStep> steps;
};

SavedState read_state(const fs::path& path) {
  const Json json = parse_json_file(path, kMostBytes);
  if (!json.is_object())
    fail(ErrorKind::bad_input, path.string(), ": found ", json_found(json), ", expected an object");
  const JsonObject root(json, path.string());
  if (const std::int64_t version = root.integer("version", 1, INT64_MAX); version > kVersion) {
    fail(ErrorKind::bad_input, path.string(), ": found format version ", version, ", expected at most ", kVersion,
         ": it was written by a later bertx");
  }
  SavedState run{root.string("model"), root.string("data"), {}};
  const Json& steps = root.at("steps");
  if (!steps.is_array()) root.fail_at("steps", "an array");
  for (const Json& step : steps) {
    const std::string where = text(path.string(), ": steps: ", run.steps.size());
    if (!step.is_object()) fail(ErrorKind::bad_input, where, ": found ", json_found(step), ", expected an object");
    const JsonObject object(step, where);
    SavedStep saved{object.string("name"), object.string("identity"), object.boolean("finished", false)};
    if (!saved.name.starts_with("step-") || fs::path(saved.name).filename() != saved.name) {
      object.fail_at("name", "the name of a step's directory");
    }
    run.steps.push_back(std::move(saved));
  }
  return run;
}

bool is_complete(const fs::path& directory) {
  std::error_code error;
  return fs::exists(directory / "config.json", error) && fs::exists(directory / "model.safetensors", error);
}

/// Hidden files do not count: an earlier call that was killed may have left some.
bool holds_files(const fs::path& directory) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (!it->path().filename().string().starts_with('.')) return true;
  }
  return false;
}

/// The first step of the file that is not the recipe's, and why; as many as there are where all are.
std::pair<std::size_t, std::string> first_difference(const SavedState& saved, const RecipeIdentity& now) {
  if (saved.model != now.model) return {0, "the model is another one"};
  if (saved.data != now.data) return {0, "the data are others"};
  for (std::size_t i = 0; i < saved.steps.size(); ++i) {
    if (i >= now.steps.size()) return {i, saved.steps[i].name + " is no step of the recipe any more"};
    if (saved.steps[i].name != now.names[i] || saved.steps[i].identity != now.steps[i]) {
      return {i, now.names[i] + " has other settings than " + saved.steps[i].name + " there"};
    }
  }
  return {saved.steps.size(), ""};
}

}  // namespace

RecipeIdentity identity_of(const Steps& steps, const fs::path& model, const TaskData& data) {
  RecipeIdentity out;
  std::uint32_t crc = checksum_file(model / "config.json").crc;
  const WeightFiles files = WeightFiles::open(model);
  for (const SafetensorsFile& file : files.files()) {
    const std::uint32_t weights = checksum_file(file.path()).crc;
    crc = crc32c(&weights, sizeof weights, crc);
  }
  out.model = crc_text(crc);
  crc = 0;
  const auto add = [&](const DataPart& part) {
    const std::uint32_t examples = fingerprint(part.encoded);
    crc = crc32c(&examples, sizeof examples, crc);
  };
  if (data.train) add(*data.train);
  for (const DataPart& part : data.validation) add(part);
  for (const std::string& label : data.labels) crc = crc32c(label.data(), label.size(), crc);
  out.data = crc_text(crc);
  for (const Step& step : steps.steps) {
    out.names.push_back(step.name);
    out.steps.push_back(step.identity);
  }
  return out;
}

RecipeState::RecipeState(fs::path directory, RecipeIdentity now, bool overwrite)
    : directory_(std::move(directory)), now_(std::move(now)) {
  read(overwrite);
}

void RecipeState::read(bool overwrite) {
  std::error_code error;
  const fs::path path = directory_ / kState;
  if (!fs::exists(path, error)) {
    if (!holds_files(directory_) || overwrite) return;
    fail(ErrorKind::usage, "--output_dir: found ", directory_.string(), " with other files and no ", kState,
         ", expected a new or empty directory, or one of an earlier bertx compress; --overwrite_output_dir takes it");
  }
  const SavedState saved = read_state(path);
  const auto [first, why] = first_difference(saved, now_);
  if (first < saved.steps.size() && !overwrite) {
    fail(ErrorKind::usage, "--output_dir: found ", directory_.string(), " with the steps of another run: ", why,
         "; --overwrite_output_dir runs again from there on");
  }
  for (std::size_t i = first; i < saved.steps.size(); ++i) others_.push_back(saved.steps[i].name);
  begun_ = first;
  while (done_ < first && saved.steps[done_].finished && is_complete(path_of(done_))) ++done_;
}

void RecipeState::remove_others() {
  if (others_.empty()) return;
  write();  // before they go: a directory that is half removed is no step's
  for (const std::string& name : others_) {
    std::error_code error;
    fs::remove_all(directory_ / name, error);
    if (error) fail(ErrorKind::io, (directory_ / name).string(), ": cannot be removed: ", error.message());
    log(LogLevel::info, "removed ", name, " of another run");
  }
  others_.clear();
}

void RecipeState::begin(std::size_t step) {
  begun_ = std::max(begun_, step + 1);
  done_ = std::min(done_, step);
  write();
}

void RecipeState::finish(std::size_t step) {
  done_ = step + 1;
  write();
}

void RecipeState::write() const {
  Json steps = Json::array();
  for (std::size_t i = 0; i < begun_; ++i) {
    steps.push_back({{"name", now_.names[i]}, {"identity", now_.steps[i]}, {"finished", i < done_}});
  }
  const Json json = {{"version", kVersion}, {"model", now_.model}, {"data", now_.data}, {"steps", steps}};
  remove_stale_temporaries(directory_ / kState);
  write_text_file(directory_ / kState, json.dump(2) + "\n");
}

}  // namespace bertx::tools
