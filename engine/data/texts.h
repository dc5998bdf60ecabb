// What is said about the texts of a data set, whatever file they came from.
#pragma once

#include <filesystem>

#include "bertx/dataset.h"

namespace bertx::data {

/// Adds a warning that counts the examples without a visible character in any of their texts.
void warn_of_blank_texts(Dataset& data, const std::filesystem::path& path);

}  // namespace bertx::data
