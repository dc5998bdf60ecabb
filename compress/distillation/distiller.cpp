#include "distillation/distiller.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "bertx/error.h"
#include "distillation/response.h"
#include "io/json.h"

namespace bertx::compress {
namespace {

/// Hands what comes by in a backward pass to the loss inside.
class Tap final : public LayerTap {
 public:
  Tap(InnerLoss& inner, const TeacherView& teacher, double scale) : inner_(inner), teacher_(teacher), scale_(scale) {}
  void output(Exec& exec, int layer, Tensor y, Tensor starts, Tensor dy) override {
    inner_.output(exec, teacher_, layer, y, starts, scale_, dy, values);
  }
  void attention(Exec& exec, int layer, AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor starts, Tensor dq,
                 Tensor dk, Tensor dv) override {
    inner_.attention(exec, teacher_, layer, {shape.heads, q, k, v, starts, dq, dk, dv}, scale_, values);
  }

  InnerValues values;

 private:
  InnerLoss& inner_;
  const TeacherView& teacher_;
  double scale_;
};

}  // namespace

Distiller::Distiller(Teacher teacher, Distillation how, std::unique_ptr<InnerLoss> inner)
    : teacher_(std::move(teacher)),
      how_(std::move(how)),
      inner_(std::move(inner)),
      hidden_weight_(hidden_weight_of(how_)),
      attention_weight_(attention_weight_of(how_)) {}

std::string Distiller::identity() const {
  std::string out = text("distillation ", how_.kind, " from teacher ", teacher_.checksum(), ", temperature ",
                         temperature(), ", hard_weight ", how_.hard_weight);
  if (hidden_weight_ != 0) out += text(", hidden_weight ", hidden_weight_);
  if (attention_weight_ != 0) out += text(", attention_weight ", attention_weight_);
  if (how_.kind == "pkd") out += text(", teacher_layers ", how_.teacher_layers);
  return out;
}

void Distiller::begin(Backend& backend, Model& model) {
  teacher_.fit(model);
  if (how_.temperature && model.head.problem != ProblemKind::single_label) {
    fail(ErrorKind::usage, "temperature: found ", *how_.temperature,
         ", expected none: answers of regression and multi-label tasks are compared as they are");
  }
  if (inner_) inner_->begin(backend, model, teacher_.model());
}

void Distiller::visit(const Visit& parameter) {
  if (inner_) inner_->visit(parameter);
}

void Distiller::start(Backend& backend, std::span<const EncodedExample> train, ProgressObserver& observer) {
  sums_ = {};
  teacher_.answer(backend, train, how_.batch_size, how_.cache, observer);
}

// loss = α labels + (1 - α) teacher + w_h hidden + w_a attention
double Distiller::run(Exec& exec, Model& model, const Batch& batch, Model::Saved& saved, double share) {
  // 1. The teacher's states, without dropout; they stay in the arena while the student runs.
  std::vector<Tensor> states;
  if (inner_) {
    Exec teacher{exec.backend, exec.arena};
    teacher_.model().encode(teacher, batch, nullptr, &states);
  }
  // 2. The student's answer beside the teacher's and the labels.
  const double hard = how_.hard_weight;
  if (inner_) exec.all_tokens = inner_->all_tokens();
  const Tensor logits = model.forward(exec, batch, &saved);
  const Tensor dlogits = exec.take(logits.rows, logits.cols);
  std::vector<float> answers = teacher_.answers_to(batch);
  const double soft =
      response_loss(exec, model.head.problem, logits, answers, temperature(), (1 - hard) * share, dlogits);
  double labels = 0;
  if (hard > 0) {
    const Tensor of_labels = exec.take(logits.rows, logits.cols);
    labels = model.loss(exec, batch, logits, hard * share, of_labels);
    exec.backend.add(of_labels, dlogits);
  }
  // 3. Back through the student; what is compared inside adds its gradients on the way.
  const TeacherView view{teacher_.model(), states};
  InnerValues inside;
  if (inner_) {
    Tap tap(*inner_, view, share);
    exec.tap = &tap;
    model.backward(exec, batch, saved, dlogits);
    exec.tap = nullptr;
    inside = tap.values;
  } else {
    model.backward(exec, batch, saved, dlogits);
  }
  ++sums_.batches;
  sums_.labels += labels, sums_.teacher += soft;
  sums_.hidden += inside.hidden, sums_.attention += inside.attention;
  return hard * labels + (1 - hard) * soft + hidden_weight_ * inside.hidden + attention_weight_ * inside.attention;
}

Figures Distiller::take_figures() {
  const double count = static_cast<double>(std::max<std::int64_t>(1, sums_.batches));
  Figures out;
  if (how_.hard_weight > 0) out.emplace_back("loss_labels", sums_.labels / count);
  out.emplace_back("loss_teacher", sums_.teacher / count);
  if (hidden_weight_ != 0) out.emplace_back("loss_hidden", sums_.hidden / count);
  if (attention_weight_ != 0) out.emplace_back("loss_attention", sums_.attention / count);
  sums_ = {};
  return out;
}

std::string Distiller::save() const {
  return nlohmann::json{{"batches", sums_.batches},
                        {"labels", sums_.labels},
                        {"teacher", sums_.teacher},
                        {"hidden", sums_.hidden},
                        {"attention", sums_.attention}}
      .dump();
}

void Distiller::load(const std::string& json) {
  const nlohmann::json parsed = parse_json_text(json, "state of the distillation");
  if (!parsed.is_object()) {
    fail(ErrorKind::bad_input, "state of the distillation: found ", json_found(parsed), ", expected an object");
  }
  const JsonObject state(parsed, "state of the distillation");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto number = [&](const char* key) { return state.number(key, 0.0, -kInfinity, kInfinity, "a number"); };
  sums_.batches = state.integer("batches", 0, 0, std::int64_t{1} << 62);
  sums_.labels = number("labels"), sums_.teacher = number("teacher");
  sums_.hidden = number("hidden"), sums_.attention = number("attention");
}

}  // namespace bertx::compress
