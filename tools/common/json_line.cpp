#include "common/json_line.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "bertx/files.h"

namespace bertx::tools {
namespace {
std::string float_text(float value) { return std::isfinite(value) ? number_text(value) : "null"; }
}  // namespace

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void JsonLine::key(std::string_view name) {
  if (line_.size() > 1) line_ += ", ";
  line_ += json_text(name) + ": ";
}

JsonLine& JsonLine::raw(std::string_view name, std::string_view json) {
  key(name);
  line_ += json;
  return *this;
}

JsonLine& JsonLine::text(std::string_view name, std::string_view value) { return raw(name, json_text(value)); }
JsonLine& JsonLine::integer(std::string_view name, std::int64_t value) { return raw(name, std::to_string(value)); }
JsonLine& JsonLine::number(std::string_view name, float value) { return raw(name, float_text(value)); }

JsonLine& JsonLine::integers(std::string_view name, std::span<const std::int32_t> values) {
  key(name);
  line_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) line_ += (i == 0 ? "" : ", ") + std::to_string(values[i]);
  line_ += ']';
  return *this;
}

JsonLine& JsonLine::numbers(std::string_view name, std::span<const float> values) {
  key(name);
  line_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) line_ += (i == 0 ? "" : ", ") + float_text(values[i]);
  line_ += ']';
  return *this;
}

}  // namespace bertx::tools
