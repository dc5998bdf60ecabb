// Environment variables that switch something on or off.
#pragma once

namespace bertx {

/// on (the default, also where it is unset or empty) or off. Throws Error(usage) that names the variable for anything
/// else.
bool switched_on(const char* variable);

}  // namespace bertx
