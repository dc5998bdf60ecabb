// What training and evaluation ask of examples before they touch the model.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "bertx/dataset.h"
#include "bertx/model.h"

namespace bertx {

/// The labels that a head for this problem is trained on.
LabelKind kind_of(ProblemKind problem);

/// The outputs of the model's sequence classification head; Error(usage) where it has none.
std::int64_t output_count(const Model& model);

/// Throws Error(usage) where the head is not made for `kind`, Error(bad_input) where an example has ids, types, a
/// length or labels that the model has no place for. `what` begins the message: "training data".
void check_examples(const Model& model, std::span<const EncodedExample> examples, LabelKind kind,
                    std::string_view what);

}  // namespace bertx
