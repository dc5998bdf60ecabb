#include "train/examples.h"

#include <cmath>

#include "bertx/error.h"
#include "bertx/train.h"
#include "train/crc32c.h"

namespace bertx {
LabelKind kind_of(ProblemKind problem) {
  switch (problem) {
    case ProblemKind::single_label: return LabelKind::single_label;
    case ProblemKind::regression: return LabelKind::regression;
    case ProblemKind::multi_label: return LabelKind::multi_label;
  }
  return LabelKind::none;
}

std::int64_t output_count(const Model& model) {
  if (model.head.kind != HeadKind::sequence_classification || !model.head.classifier) {
    fail(ErrorKind::usage, "model: found ", head_architecture(model.head.kind), ", expected ",
         head_architecture(HeadKind::sequence_classification));
  }
  return model.head.classifier->weight->out();
}

void check_examples(const Model& model, std::span<const EncodedExample> examples, LabelKind kind,
                    std::string_view what) {
  const std::int64_t outputs = output_count(model);
  if (kind != LabelKind::none && kind != kind_of(model.head.problem)) {
    fail(ErrorKind::usage, what, ": found ", label_kind_name(kind), " labels, expected ",
         label_kind_name(kind_of(model.head.problem)), ", which the model's head is made for");
  }
  if (kind == LabelKind::regression && outputs != 1) {
    fail(ErrorKind::usage, what, ": found one target an example, expected ", outputs, " as the model has outputs");
  }
  if (examples.empty()) fail(ErrorKind::bad_input, what, ": found no examples, expected at least one");

  for (std::size_t i = 0; i < examples.size(); ++i) {
    const EncodedExample& example = examples[i];
    const auto expect = [&](bool ok, std::string_view field, std::int64_t found, std::int64_t least,
                            std::int64_t most) {
      if (ok) return;
      fail(ErrorKind::bad_input, what, ", example ", i, ": ", field, ": found ", found, ", expected ", least, " to ",
           most);
    };
    const std::int64_t length = static_cast<std::int64_t>(example.ids.size());
    expect(length >= 1 && length <= model.config.positions, "number of tokens", length, 1, model.config.positions);
    expect(example.types.size() == example.ids.size(), "number of token types",
           static_cast<std::int64_t>(example.types.size()), length, length);
    for (const std::int32_t id : example.ids) {
      expect(id >= 0 && id < model.config.vocab, "token id", id, 0, model.config.vocab - 1);
    }
    for (const std::int32_t type : example.types) {
      expect(type >= 0 && type < model.config.types, "token type", type, 0, model.config.types - 1);
    }
    if (kind == LabelKind::single_label && example.label != -100) {
      expect(example.label >= 0 && example.label < outputs, "label", example.label, 0, outputs - 1);
    }
    if (kind == LabelKind::multi_label) {
      for (const std::int32_t label : example.classes)
        expect(label >= 0 && label < outputs, "label", label, 0, outputs - 1);
    }
    if (kind == LabelKind::regression && !std::isfinite(example.target)) {
      fail(ErrorKind::bad_input, what, ", example ", i, ": target: found ", example.target,
           ", expected a finite number");
    }
  }
}

std::uint32_t fingerprint(std::span<const EncodedExample> examples) {
  std::uint32_t crc = 0;
  const auto add = [&](const std::vector<std::int32_t>& values) {
    const std::uint64_t count = values.size();
    crc = crc32c(&count, sizeof count, crc);
    crc = crc32c(values.data(), count * sizeof(std::int32_t), crc);
  };
  for (const EncodedExample& example : examples) {
    add(example.ids);
    add(example.types);
    add(example.classes);
    crc = crc32c(&example.label, sizeof example.label, crc);
    crc = crc32c(&example.target, sizeof example.target, crc);
  }
  return crc;
}

std::uint32_t fingerprint(Backend& backend, Model& model) {
  std::uint32_t crc = 0;
  std::vector<std::byte> host;
  const auto add = [&](const std::string& path, Tensor x) {
    crc = crc32c(path.data(), path.size(), crc);
    host.resize(static_cast<std::size_t>(x.size()) * size_of(x.dtype));
    if (host.empty()) return;
    backend.download(x, view(host.data(), x.rows, x.cols, x.dtype));
    crc = crc32c(host.data(), host.size(), crc);
  };
  model.visit_every_path([&](const std::string& path, Parameter& p) { add(path, p.tensor()); });
  model.visit_structure([&](const std::string& path, Storage& part) { add(path, part.tensor); });
  return crc;
}

}  // namespace bertx
