// Distillation as the trainer calls it: labels, answers of the teacher, and what a kind compares inside.
#pragma once

#include <memory>
#include <string>

#include "bertx/distill.h"
#include "distillation/inner.h"
#include "distillation/teacher.h"

namespace bertx::compress {

class Distiller final : public Objective {
 public:
  /// `inner` may be null: answers alone.
  Distiller(Teacher teacher, Distillation how, std::unique_ptr<InnerLoss> inner);

  std::string identity() const override;
  void begin(Backend& backend, Model& model) override;
  void visit(const Visit& parameter) override;
  std::size_t bytes() const override { return teacher_.bytes(); }
  void start(Backend& backend, std::span<const EncodedExample> train, ProgressObserver& observer) override;
  double run(Exec& exec, Model& model, const Batch& batch, Model::Saved& saved, double share) override;
  Figures take_figures() override;
  std::string save() const override;
  void load(const std::string& json) override;

 private:
  /// Sums over micro-batches since the last log.
  struct Sums {
    std::int64_t batches = 0;
    double labels = 0, teacher = 0, hidden = 0, attention = 0;
  };
  double temperature() const { return how_.temperature.value_or(2.0); }

  Teacher teacher_;
  Distillation how_;
  std::unique_ptr<InnerLoss> inner_;
  double hidden_weight_ = 0, attention_weight_ = 0;
  Sums sums_;
};

/// Of the kind, where nothing was stated; 0 where it does not read them.
double hidden_weight_of(const Distillation& how);
double attention_weight_of(const Distillation& how);

}  // namespace bertx::compress
