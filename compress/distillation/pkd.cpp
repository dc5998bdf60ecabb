// Patient knowledge distillation: Sun et al. 2019 (1908.09355). The hidden state of [CLS] in each layer but the last,
// at length 1, beside that of a layer of the teacher: of M and N layers, layer j beside layer j N / M ("skip") or
// N - M + j ("last").
#include <cstddef>

#include "distillation/inner.h"

namespace bertx::compress {
namespace {

class PatientLoss final : public InnerLoss {
 public:
  explicit PatientLoss(const Distillation& how) : last_(how.teacher_layers == "last"), weight_(*how.hidden_weight) {}

  void begin(Backend&, const Model& student, const Model& teacher) override {
    require_layers("pkd", student, teacher, 2);
    require_equal_width("pkd", student, teacher);
    layers_ = student.layers.size();
    teacher_layers_ = teacher.layers.size();
  }

  // y, dy [H, T]. Of directions u, v in H dimensions the mean of (u - v)² is (1 - cos) · 2 / H.
  void output(Exec& exec, const TeacherView& teacher, int layer, Tensor y, Tensor starts, double scale, Tensor dy,
              InnerValues& values) override {
    const auto number = static_cast<std::size_t>(layer + 1);  // from 1, as in the paper
    if (layer < 0 || number == layers_ || weight_ == 0) return;
    const std::size_t beside = last_ ? teacher_layers_ - layers_ + number : number * teacher_layers_ / layers_;
    const Arena::Mark mark = exec.arena.mark();
    const Tensor first_tokens = starts.col_range(0, starts.cols - 1);
    const auto take = [&] { return exec.take(y.rows, first_tokens.cols); };
    const Tensor x = take(), target = take(), dx = take(), spread = exec.take(y.rows, y.cols);
    exec.backend.gather_columns(y, first_tokens, x);
    exec.backend.gather_columns(teacher.states[beside], first_tokens, target);
    const double factor = 2 / (static_cast<double>(y.rows) * static_cast<double>(layers_ - 1));
    values.hidden += factor * exec.backend.cosine_distance(x, target, weight_ * scale * factor, dx);
    exec.backend.gather_columns_grad(dx, first_tokens, spread);
    exec.backend.add(spread, dy);
    exec.arena.rewind(mark);
  }

 private:
  bool last_;
  double weight_;
  std::size_t layers_ = 0, teacher_layers_ = 0;
};

}  // namespace

std::unique_ptr<InnerLoss> make_pkd(const Distillation& how) { return std::make_unique<PatientLoss>(how); }

}  // namespace bertx::compress
