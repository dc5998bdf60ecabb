// How long products with two weights take, as they would run at inference.
#pragma once

#include <functional>

#include "bertx/weight.h"

namespace bertx::compress {

/// How many times faster `other` is than `whole`, two weights of one shape.
using SpeedUp = std::function<double(Backend& backend, LinearWeight& whole, LinearWeight& other)>;

/// Measured on 128 tokens, both prepared, in turn, the fastest of several each. Neither is prepared afterwards.
double measured_speed_up(Backend& backend, LinearWeight& whole, LinearWeight& other);

}  // namespace bertx::compress
