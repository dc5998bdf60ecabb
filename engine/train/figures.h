// Named numbers to JSON and back.
#pragma once

#include <nlohmann/json.hpp>

#include "bertx/train.h"

namespace bertx {

/// Counts (…step, …samples) become integers, numbers that are not finite null.
nlohmann::json to_json(const Figures& figures);
/// Values that are no numbers are left out, null becomes NaN.
Figures figures_of(const nlohmann::json& object);

}  // namespace bertx
