// TinyBERT: Jiao et al. 2019 (1909.10351). Layer m of M learns from layer m N / M of N: mean squared error of the
// scores of attention before the softmax, and of the hidden states, also those of the embeddings. Where the widths
// differ a learned map W [H', H] takes the student's states to the teacher's: one for the embeddings, one for all
// layers.
#include <algorithm>
#include <cmath>
#include <vector>

#include "bertx/weight.h"
#include "distillation/inner.h"

namespace bertx::compress {
namespace {

class TinyLoss final : public InnerLoss {
 public:
  explicit TinyLoss(const Distillation& how)
      : hidden_weight_(*how.hidden_weight), attention_weight_(*how.attention_weight), seed_(how.seed) {}

  void begin(Backend& backend, const Model& student, const Model& teacher) override {
    require_layers("tinybert", student, teacher, 1);
    layers_ = student.layers.size();
    teacher_layers_ = teacher.layers.size();
    for (std::size_t l = 0; l < layers_ && attention_weight_ != 0; ++l)
      require_equal_heads("tinybert", student, l, teacher, beside(static_cast<int>(l)) - 1);
    projections_.clear();
    if (student.config.hidden == teacher.config.hidden || hidden_weight_ == 0) return;
    for (std::uint64_t i = 0; i < 2; ++i)
      projections_.push_back(new_projection(backend, teacher.config.hidden, student.config.hidden, seed_ + i));
  }

  bool all_tokens() const override { return hidden_weight_ != 0; }

  void visit(const Visit& parameter) override {
    const char* const names[] = {"distillation.embeddings_projection", "distillation.hidden_projection"};
    for (std::size_t i = 0; i < projections_.size(); ++i) projections_[i]->visit(names[i], parameter);
  }

  // y, dy [H, T]
  void output(Exec& exec, const TeacherView& teacher, int layer, Tensor y, Tensor, double scale, Tensor dy,
              InnerValues& values) override {
    if (hidden_weight_ == 0) return;
    const Arena::Mark mark = exec.arena.mark();
    const Tensor target = teacher.states[beside(layer)], gradient = exec.take(target.rows, y.cols);
    if (projections_.empty()) {
      values.hidden += exec.backend.mean_squared_error(y, target, hidden_weight_ * scale, gradient);
      exec.backend.add(gradient, dy);
    } else {
      DenseWeight& projection = *projections_[layer < 0 ? 0 : 1];
      const Tensor projected = exec.take(target.rows, y.cols);
      projection.apply(exec, y, projected, {});
      values.hidden += exec.backend.mean_squared_error(projected, target, hidden_weight_ * scale, gradient);
      projection.apply_grad(exec, y, gradient, dy, Write::add);
    }
    exec.arena.rewind(mark);
  }

  void attention(Exec& exec, const TeacherView& teacher, int layer, const Attention& student, double scale,
                 InnerValues& values) override {
    if (attention_weight_ == 0) return;
    const Arena::Mark mark = exec.arena.mark();
    const TeacherAttention of = teacher_attention(exec, teacher, beside(layer) - 1);
    values.attention +=
        exec.backend.relation_distance(Comparison::squares, student.heads, student.q, student.k, of.q, of.k,
                                       student.starts, attention_weight_ * scale, student.dq, student.dk);
    exec.arena.rewind(mark);
  }

 private:
  /// The teacher's state beside what leaves `layer`; the layer that it leaves comes one before it.
  std::size_t beside(int layer) const { return static_cast<std::size_t>(layer + 1) * teacher_layers_ / layers_; }

  /// Uniform, of the spread of Glorot & Bengio 2010.
  static std::unique_ptr<DenseWeight> new_projection(Backend& backend, std::int64_t out, std::int64_t in,
                                                     std::uint64_t seed) {
    const double spread = std::sqrt(6.0 / static_cast<double>(out + in));
    std::vector<double> values;
    for (std::int64_t i = 0; i < out; ++i) {
      for (std::int64_t j = 0; j < in; ++j) {
        const std::uint32_t bits = random_u32(seed, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
        values.push_back(spread * (2 * (static_cast<double>(bits) + 0.5) / 4294967296.0 - 1));
      }
    }
    auto parameter = std::make_shared<Parameter>();
    parameter->value = make_storage(backend, out, in, backend.real());
    backend.upload(view(values.data(), out, in, DType::f64), parameter->value.tensor);
    return std::make_unique<DenseWeight>(std::move(parameter));
  }

  double hidden_weight_, attention_weight_;
  std::uint64_t seed_;
  std::size_t layers_ = 0, teacher_layers_ = 0;
  std::vector<std::unique_ptr<DenseWeight>> projections_;  ///< of the embeddings, of all layers; or none
};

}  // namespace

std::unique_ptr<InnerLoss> make_tinybert(const Distillation& how) { return std::make_unique<TinyLoss>(how); }

}  // namespace bertx::compress
