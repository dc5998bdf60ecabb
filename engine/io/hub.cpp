// From what a user calls a model to its directory: a path, or a name in the cache of the Hugging Face Hub.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/posix.h"

namespace bertx {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// The cache and the words that say why it is this one.
struct Cache {
  fs::path path;
  std::string reason;
};

Cache hub_cache() {
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) return {cache, "HF_HUB_CACHE"};
  if (const std::string home = environment("HF_HOME"); !home.empty()) return {fs::path(home) / "hub", "HF_HOME"};
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return {fs::path(cache) / "huggingface/hub", "XDG_CACHE_HOME"};
  }
  return {fs::path(environment("HOME")) / ".cache/huggingface/hub",
          "the default; HF_HUB_CACHE and HF_HOME are not set"};
}

bool is_word(std::string_view text) {
  return !text.empty() && text.front() != '.' && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

/// "org/name" or "name".
bool is_model_name(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash == std::string_view::npos ? is_word(name)
                                         : is_word(name.substr(0, slash)) && is_word(name.substr(slash + 1));
}

/// The commit that refs/main names; empty where there is none.
std::string main_revision(const fs::path& model) {
  const fs::path reference = model / "refs/main";
  std::error_code error;
  if (!fs::exists(reference, error)) return {};
  std::string revision = read_text_file(reference, 1024);
  while (!revision.empty() && (revision.back() == '\n' || revision.back() == '\r' || revision.back() == ' ')) {
    revision.pop_back();
  }
  if (!is_word(revision)) {
    fail(ErrorKind::bad_input, shown(reference), ": found ", quote(revision), ", expected the name of a snapshot");
  }
  return revision;
}

}  // namespace

fs::path resolve_model_directory(const std::string& name_or_path) {
  std::error_code error;
  if (name_or_path.empty())
    fail(ErrorKind::usage, "model: found an empty name, expected a directory or a model's name");
  if (fs::is_directory(name_or_path, error)) return name_or_path;
  if (fs::exists(name_or_path, error)) {
    fail(ErrorKind::bad_input, shown(name_or_path), ": found a file, expected the directory of a model");
  }
  std::string looked = "the directory " + quote(name_or_path, 4096) + " (does not exist)";
  if (!is_model_name(name_or_path)) {
    fail(ErrorKind::io, "model ", quote(name_or_path, 4096), ": not found; looked at ", looked,
         "; it cannot be a name on the Hub, which is \"org/name\" or \"name\"");
  }

  const Cache cache = hub_cache();
  std::string folder = "models--" + name_or_path;
  if (const std::size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path model = cache.path / folder;
  looked += ", " + shown(model) + " (" + cache.reason + ")";
  if (const std::string revision = main_revision(model); !revision.empty()) {
    const fs::path snapshot = model / "snapshots" / revision;
    if (fs::exists(snapshot / "config.json", error)) return snapshot;
    looked += ", " + shown(snapshot) + (fs::exists(snapshot, error) ? " (has no config.json)" : " (does not exist)");
  } else {
    looked += fs::exists(model, error) ? " (has no refs/main)" : " (does not exist)";
  }
  fail(ErrorKind::io, "model ", quote(name_or_path, 4096), ": not found; looked at ", looked,
       "; bertx does not download: name a directory, or fetch the model into the cache first");
}

}  // namespace bertx
