// MiniLM: Wang et al. 2020 (2002.10957). Of the last layers alone: KL of the distributions of attention, and of those
// of the relations between values, softmax(VᵀV / √d). Widths of heads may differ, their number may not.
#include "distillation/inner.h"

namespace bertx::compress {
namespace {

class RelationLoss final : public InnerLoss {
 public:
  explicit RelationLoss(const Distillation& how) : weight_(*how.attention_weight) {}

  void begin(Backend&, const Model& student, const Model& teacher) override {
    last_ = student.layers.size() - 1;
    require_equal_heads("minilm", student, last_, teacher, teacher.layers.size() - 1);
  }

  void attention(Exec& exec, const TeacherView& teacher, int layer, const Attention& student, double scale,
                 InnerValues& values) override {
    if (static_cast<std::size_t>(layer) != last_ || weight_ == 0) return;
    const Arena::Mark mark = exec.arena.mark();
    const TeacherAttention of = teacher_attention(exec, teacher, teacher.model.layers.size() - 1);
    const auto compare = [&](Tensor a, Tensor b, Tensor teacher_a, Tensor teacher_b, Tensor da, Tensor db) {
      values.attention += exec.backend.relation_distance(Comparison::distributions, student.heads, a, b, teacher_a,
                                                         teacher_b, student.starts, weight_ * scale, da, db);
    };
    compare(student.q, student.k, of.q, of.k, student.dq, student.dk);
    compare(student.v, student.v, of.v, of.v, student.dv, student.dv);
    exec.arena.rewind(mark);
  }

 private:
  double weight_;
  std::size_t last_ = 0;
};

}  // namespace

std::unique_ptr<InnerLoss> make_minilm(const Distillation& how) { return std::make_unique<RelationLoss>(how); }

}  // namespace bertx::compress
