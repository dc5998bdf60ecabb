// DistilBERT: Sanh et al. 2019 (1910.01108). The directions of the last hidden states, 1 - cos, mean over the tokens.
// The paper's student begins as every second layer of the teacher: method `layers` of bertx prune makes it.
#include "distillation/inner.h"

namespace bertx::compress {
namespace {

class DirectionLoss final : public InnerLoss {
 public:
  explicit DirectionLoss(const Distillation& how) : weight_(*how.hidden_weight) {}

  void begin(Backend&, const Model& student, const Model& teacher) override {
    require_equal_width("distilbert", student, teacher);
    last_ = static_cast<int>(student.layers.size()) - 1;
  }

  bool all_tokens() const override { return weight_ != 0; }

  // y, dy [H, T]
  void output(Exec& exec, const TeacherView& teacher, int layer, Tensor y, Tensor, double scale, Tensor dy,
              InnerValues& values) override {
    if (layer != last_ || weight_ == 0) return;
    const Arena::Mark mark = exec.arena.mark();
    const Tensor gradient = exec.take(y.rows, y.cols);
    values.hidden += exec.backend.cosine_distance(y, teacher.states.back(), weight_ * scale, gradient);
    exec.backend.add(gradient, dy);
    exec.arena.rewind(mark);
  }

 private:
  double weight_;
  int last_ = 0;
};

}  // namespace

std::unique_ptr<InnerLoss> make_distilbert(const Distillation& how) { return std::make_unique<DirectionLoss>(how); }

}  // namespace bertx::compress
