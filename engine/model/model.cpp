// A model from tokens to loss and back; the walk over its parameters.
#include "bertx/model.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <map>
#include <unordered_set>

#include "bertx/error.h"
#include "model/batch_tensors.h"
#include "model/head.h"
#include "weights/stacked.h"

namespace bertx {

Tensor Model::forward(Exec& exec, const Batch& batch, Saved* saved) const {
  check(batch);
  return forward(exec, tensors_of(exec, batch), saved);
}

Tensor Model::forward(Exec& exec, const BatchTensors& batch, Saved* saved) const {
  Tensor first_tokens;  // a pooler reads the first token of each sequence only
  if (pooler) first_tokens = batch.starts.col_range(0, batch.starts.cols - 1);
  Tensor hidden = run_encoder(exec, batch, saved, nullptr, exec.all_tokens ? Tensor{} : first_tokens);
  const Tensor picked = exec.all_tokens ? first_tokens : Tensor{};
  if (!picked.empty()) {
    const Tensor all = hidden;
    hidden = exec.take(all.rows, picked.cols);
    exec.backend.gather_columns(all, picked, hidden);
  }
  if (saved) saved->picked = picked;
  return head_forward(exec, head, pooler ? &*pooler : nullptr, hidden, saved ? &saved->head : nullptr);
}

double Model::loss(Exec& exec, const Batch& batch, Tensor logits, double scale, Tensor dlogits) const {
  const auto expect = [&](std::size_t found, std::int64_t expected, const char* what) {
    if (static_cast<std::int64_t>(found) != expected) {
      fail(ErrorKind::usage, "batch: found ", found, " ", what, ", expected ", expected);
    }
  };
  const std::int64_t sequences = batch.sequences(), tokens = batch.tokens();
  switch (head.kind) {
    case HeadKind::sequence_classification:
      if (head.problem == ProblemKind::single_label) {
        expect(batch.labels.size(), sequences, "labels");
        return exec.backend.cross_entropy(logits, exec.integers(batch.labels), scale, dlogits);
      }
      expect(batch.targets.size(), logits.rows * sequences, "targets");
      if (head.problem == ProblemKind::regression) {
        return exec.backend.mean_squared_error(logits, exec.reals(batch.targets, logits.rows, sequences), scale,
                                               dlogits);
      }
      return exec.backend.binary_cross_entropy(logits, exec.reals(batch.targets, logits.rows, sequences), scale,
                                               dlogits);
    case HeadKind::token_classification:
    case HeadKind::masked_lm:
      expect(batch.labels.size(), tokens, "labels");
      return exec.backend.cross_entropy(logits, exec.integers(batch.labels), scale, dlogits);
    case HeadKind::question_answering:
      expect(batch.labels.size(), 2 * sequences, "labels");
      return exec.backend.span_cross_entropy(logits, exec.integers(batch.starts), exec.integers(batch.labels), scale,
                                             dlogits);
    case HeadKind::none: break;
  }
  fail(ErrorKind::usage, "model: found no head, expected one with a loss");
}

void Model::backward(Exec& exec, const Batch& batch, const Saved& saved, Tensor dlogits) {
  const Arena::Mark mark = exec.arena.mark();
  const Tensor dhidden = exec.take(config.hidden, saved.hidden.cols);
  if (saved.picked.empty()) {
    head_backward(exec, head, pooler ? &*pooler : nullptr, saved.head, dlogits, dhidden);
  } else {
    const Tensor dpicked = exec.take(config.hidden, saved.picked.cols);
    head_backward(exec, head, pooler ? &*pooler : nullptr, saved.head, dlogits, dpicked);
    exec.backend.gather_columns_grad(dpicked, saved.picked, dhidden);
  }
  const auto tap = [&](int layer, Tensor y, Tensor gradient) {
    if (exec.tap) exec.tap->output(exec, layer, y, saved.starts, gradient);
  };
  const int last = static_cast<int>(layers.size()) - 1;
  tap(last, saved.hidden, dhidden);
  Tensor dx = exec.take(config.hidden, batch.tokens()), dy = exec.take(config.hidden, batch.tokens());
  layers.back().backward(exec, saved.layers.back(), saved.starts, dhidden, dy, last);
  for (std::size_t i = layers.size() - 1; i-- > 0;) {
    tap(static_cast<int>(i), saved.layers[i + 1].x, dy);
    layers[i].backward(exec, saved.layers[i], saved.starts, dy, dx, static_cast<int>(i));
    std::swap(dx, dy);
  }
  tap(-1, saved.layers.front().x, dy);
  embeddings.backward(exec, saved.embeddings, saved.ids, saved.types, saved.starts, dy);
  exec.arena.rewind(mark);
}

// ---- the walk -------------------------------------------------------------------------------------------------------

void Model::visit(const Visit& parameter) {
  std::unordered_set<const Parameter*> seen;
  visit_every_path([&](const std::string& path, Parameter& p) {
    if (seen.insert(&p).second) parameter(path, p);
  });
}

void Model::visit_every_path(const Visit& parameter) {
  const std::string base = prefix();
  embeddings.visit(base + "embeddings", parameter);
  for (std::size_t i = 0; i < layers.size(); ++i)
    layers[i].visit(base + "encoder.layer." + std::to_string(i), parameter);
  if (pooler) pooler->visit(base + "pooler.dense", parameter);
  if (head.kind == HeadKind::masked_lm) {
    // The decoder's bias has a name of its own in checkpoints; a tied weight was visited as the word embedding.
    parameter("cls.predictions.bias", *head.decoder->bias);
    head.transform->visit("cls.predictions.transform.dense", parameter);
    head.transform_norm->visit("cls.predictions.transform.LayerNorm", parameter);
    head.decoder->weight->visit("cls.predictions.decoder.weight", parameter);
  } else if (head.classifier) {
    head.classifier->visit(head.kind == HeadKind::question_answering ? "qa_outputs" : "classifier", parameter);
  }
}

void Model::visit_structure(const VisitStructure& part) {
  std::unordered_set<const Storage*> seen;  // a weight may be shared whole or as a part
  visit_linears([&](const std::string& path, Linear& linear) {
    linear.weight->structure(path + ".weight", [&](const std::string& name, Storage& storage) {
      if (seen.insert(&storage).second) part(name, storage);
    });
  });
}

void Model::visit_linears(const std::function<void(const std::string& path, Linear&)>& linear) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layers[i].visit_linears(prefix() + "encoder.layer." + std::to_string(i), linear);
  }
}

void Model::zero_gradients(Backend& backend) {
  visit([&](const std::string&, Parameter& p) { p.zero_gradient(backend); });
}

void Parameter::zero_gradient(Backend& backend) {
  if (frozen) {
    grad = {};
  } else if (grad.tensor.empty()) {
    grad = make_storage(backend, tensor().rows, tensor().cols, tensor().dtype);
  } else {
    backend.fill(gradient(), 0.0);
  }
}

void Model::drop_gradients() {
  visit([](const std::string&, Parameter& p) { p.grad = {}; });
}

void Model::refresh(Backend& backend) {
  for (EncoderLayer& layer : layers) layer.stacked.reset();
  std::unordered_set<const LinearWeight*> seen;  // layers may share one
  visit_linears([&](const std::string&, Linear& linear) {
    if (seen.insert(linear.weight.get()).second) linear.weight->refresh(backend);
  });
  if (pooler) pooler->weight->refresh(backend);
}

void Model::prepare(Backend& backend) {
  // Layers that share their weights share the stack, too.
  std::map<std::array<const void*, 6>, std::shared_ptr<const StackedLinear>> stacks;
  for (EncoderLayer& layer : layers) {
    const std::array<const Linear*, 3> linears{&layer.query, &layer.key, &layer.value};
    std::array<const void*, 6> key{};
    for (std::size_t i = 0; i < 3; ++i) {
      key[2 * i] = linears[i]->weight.get();
      key[2 * i + 1] = linears[i]->bias.get();
    }
    const auto [at, is_new] = stacks.try_emplace(key);
    if (is_new) at->second = stack_linears(backend, linears);
    layer.stacked = at->second;
    layer.visit_linears("", [&](const std::string&, Linear& linear) {
      if (!layer.stacked || std::ranges::find(linears, &linear) == linears.end()) linear.weight->prepare(backend);
    });
  }
}

void Model::visit_kernels(
    const std::function<void(const std::string& path, const std::string& kernel, const PreparedWeight*)>& kernel) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EncoderLayer& layer = layers[i];
    const std::string path = prefix() + "encoder.layer." + std::to_string(i);
    if (layer.stacked) {
      const PreparedWeight* const weight = layer.stacked->weight.get();
      kernel(path + ".attention.self.query+key+value", std::string(weight->kernel()), weight);
    }
    layer.visit_linears(path, [&](const std::string& name, Linear& linear) {
      const bool inside = &linear == &layer.query || &linear == &layer.key || &linear == &layer.value;
      if (!layer.stacked || !inside) kernel(name, linear.weight->kernel(), linear.weight->prepared());
    });
  }
}

std::int64_t Model::parameter_count() {
  std::int64_t count = 0;
  visit([&](const std::string&, Parameter& p) { count += p.tensor().size(); });
  return count;
}

}  // namespace bertx
