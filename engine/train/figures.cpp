#include "train/figures.h"

#include <cmath>
#include <limits>

#include "bertx/error.h"
#include "bertx/files.h"
#include "io/json.h"

namespace bertx {
namespace {

bool is_count(const std::string& name, double value) {
  const bool counts =
      name == "step" || (name.find("_samples") != std::string::npos && name.find("per_second") == std::string::npos);
  return counts && value == std::floor(value) && std::fabs(value) < 9e15;
}

}  // namespace

nlohmann::json to_json(const Figures& figures) {
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [name, value] : figures) {
    if (!std::isfinite(value))
      out[name] = nullptr;
    else if (is_count(name, value))
      out[name] = static_cast<std::int64_t>(value);
    else
      out[name] = value;
  }
  return out;
}

Figures figures_of(const nlohmann::json& object) {
  Figures out;
  for (const auto& [name, value] : object.items()) {
    if (value.is_number()) out.emplace_back(name, value.get<double>());
    if (value.is_null()) out.emplace_back(name, std::numeric_limits<double>::quiet_NaN());
  }
  return out;
}

std::string figures_to_json(const Figures& figures, int indent) { return to_json(figures).dump(indent); }

void write_results(const std::filesystem::path& directory, std::string_view split, const Figures& figures) {
  const nlohmann::json mine = to_json(figures);
  write_text_file(directory / text(split, "_results.json"), mine.dump(4) + "\n");
  const std::filesystem::path all = directory / "all_results.json";
  nlohmann::json merged = nlohmann::json::object();
  if (std::filesystem::exists(all)) {
    merged = parse_json_file(all);
    if (!merged.is_object())
      fail(ErrorKind::bad_input, all.string(), ": found ", json_found(merged), ", expected an object");
  }
  merged.update(mine);
  write_text_file(all, merged.dump(4) + "\n");
}

}  // namespace bertx
