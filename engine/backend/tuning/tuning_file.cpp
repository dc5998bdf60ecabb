#include "backend/tuning/tuning_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/json.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// Letters and digits stay, anything else becomes one '-'.
std::string as_file_name(const std::string& words) {
  std::string out;
  for (const char c : words) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (plain) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  return out;
}

Timings timings_of(const nlohmann::json& entry) {
  Timings out;
  for (const auto& [tokens, kernels] : entry.items()) {
    for (const auto& [kernel, ms] : kernels.items()) {
      const double value = ms.get<double>();
      const auto count = parse_int(tokens);
      if (!count || *count < 1 || !(value > 0)) fail(ErrorKind::bad_input, "tuning entry ", tokens, " ", kernel);
      out[*count][kernel] = value;
    }
  }
  return out;
}

nlohmann::ordered_json json_of(const Timings& timings) {
  nlohmann::ordered_json out;
  for (const auto& [tokens, kernels] : timings) out[std::to_string(tokens)] = kernels;
  return out;
}

}  // namespace

std::string tuning_path(const Machine& machine, const std::string& suffix) {
  if (const std::string named = environment("BERTX_TUNE_FILE"); !named.empty()) return named + suffix;
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty() && !environment("HOME").empty()) cache = environment("HOME") + "/.cache";
  if (cache.empty()) return {};
  return text(cache, "/bertx/tuning-", BERTX_VERSION, "-", machine.kernels, "-", as_file_name(machine.processor),
              ".json");
}

TuningFile::TuningFile(std::string path, Machine machine)
    : path_(std::move(path)), machine_(std::move(machine)), entries_(read()) {}

std::map<std::string, Timings> TuningFile::read() const {
  std::map<std::string, Timings> out;
  std::error_code error;
  if (path_.empty() || !fs::is_regular_file(path_, error)) return out;
  try {
    const nlohmann::json file = parse_json_file(path_);
    const bool ours = file.at("bertx") == BERTX_VERSION && file.at("processor") == machine_.processor &&
                      file.at("kernels") == machine_.kernels;
    if (!ours) return out;
    for (const auto& [key, entry] : file.at("milliseconds").items()) out[key] = timings_of(entry);
  } catch (const std::exception&) {  // damaged: it is only a cache
    out.clear();
  }
  return out;
}

std::optional<Timings> TuningFile::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  auto found = entries_.find(key);
  if (found == entries_.end()) {  // another process may have measured it meanwhile
    entries_.merge(read());
    found = entries_.find(key);
  }
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

void TuningFile::put(const std::string& key, const Timings& timings) {
  const std::lock_guard lock(mutex_);
  entries_[key] = timings;
  if (path_.empty()) return;
  for (const auto& [other, entry] : read()) entries_.try_emplace(other, entry);
  nlohmann::ordered_json file;
  file["bertx"] = BERTX_VERSION;
  file["processor"] = machine_.processor;
  file["kernels"] = machine_.kernels;
  for (const auto& [name, entry] : entries_) file["milliseconds"][name] = json_of(entry);
  try {
    std::error_code error;
    if (const fs::path parent = fs::path(path_).parent_path(); !parent.empty()) fs::create_directories(parent, error);
    write_text_file(path_, file.dump(1) + "\n");
  } catch (const std::exception&) {  // a full disk or a cache that may not be written: measured again next time
  }
}

}  // namespace bertx
