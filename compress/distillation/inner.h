// What a distillation compares inside of the two encoders: one file a kind.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "bertx/distill.h"

namespace bertx::compress {

/// The teacher beside the student, for one batch.
struct TeacherView {
  const Model& model;
  std::span<const Tensor> states;  ///< [H', T]: what leaves the embeddings, then each layer
};

/// Losses of one batch without their weights.
struct InnerValues {
  double hidden = 0, attention = 0;
};

/// Called while the student's backward pass comes by; gradients of weight · scale · loss are added to those it has.
class InnerLoss {
 public:
  virtual ~InnerLoss() = default;
  /// Throws Error(usage) where the shapes cannot be compared.
  virtual void begin(Backend& backend, const Model& student, const Model& teacher) = 0;
  /// The outputs of the student's last layer are wanted for all tokens.
  virtual bool all_tokens() const { return false; }
  virtual void visit(const Visit& /*parameter*/) {}
  /// y, dy [H, T] of a layer, from 0, or of the embeddings (-1); see LayerTap.
  virtual void output(Exec&, const TeacherView&, int /*layer*/, Tensor /*y*/, Tensor /*starts*/, double /*scale*/,
                      Tensor /*dy*/, InnerValues&) {}
  /// q, k, v one below the other, [3·H·D, T], and their gradients, each [H·D, T].
  struct Attention {
    std::int64_t heads;
    Tensor q, k, v, starts, dq, dk, dv;
  };
  virtual void attention(Exec&, const TeacherView&, int /*layer*/, const Attention&, double /*scale*/, InnerValues&) {}
};

/// The weights that the kind reads are stated.
std::unique_ptr<InnerLoss> make_pkd(const Distillation& how);
std::unique_ptr<InnerLoss> make_tinybert(const Distillation& how);
std::unique_ptr<InnerLoss> make_minilm(const Distillation& how);
std::unique_ptr<InnerLoss> make_distilbert(const Distillation& how);

/// Queries, keys and values of the teacher's layer, from the arena.
struct TeacherAttention {
  Tensor q, k, v;
};
TeacherAttention teacher_attention(Exec& exec, const TeacherView& teacher, std::size_t layer);

/// Checks that throw Error(usage); layers from 0. `kind` begins the message.
void require_layers(std::string_view kind, const Model& student, const Model& teacher, std::size_t least);
void require_equal_width(std::string_view kind, const Model& student, const Model& teacher);
void require_equal_heads(std::string_view kind, const Model& student, std::size_t layer, const Model& teacher,
                         std::size_t teacher_layer);

}  // namespace bertx::compress
