// Which mapped files are in use, for the handler that explains a SIGBUS.
#pragma once

#include <cstddef>

namespace bertx {

/// `message` must stay where it is until unguard_mapping(begin). False when all slots are taken.
bool guard_mapping(const void* begin, std::size_t bytes, const char* message);
void unguard_mapping(const void* begin);

}  // namespace bertx
