#include "structure/rescale.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "bertx/error.h"
#include "calibration/layer_by_layer.h"
#include "calibration/seeing.h"
#include "structure/cut.h"
#include "weights/host_copy.h"

namespace bertx::compress {

// ---- the factors of one map -----------------------------------------------------------------------------------------

ScaleFit::ScaleFit(Backend& backend, const LinearWeight& weight, std::int64_t block)
    : backend_(backend), block_(block), arena_(backend) {
  weight_ = make_storage(backend, weight.out(), weight.in(), backend.real());
  weight.materialize(backend, weight_.tensor);
  gram_ = make_storage(backend, weight.in(), weight.in(), backend.real());
  products_ = make_storage(backend, weight.in() / block, 1, backend.real());
  right_.resize(static_cast<std::size_t>(weight.in() / block));
}

void ScaleFit::add(Tensor x, Tensor y, const std::vector<double>& wanted) {
  arena_.reset();
  Exec exec{backend_, arena_};
  std::vector<double> missing = downloaded<double>(backend_, y);
  for (std::size_t i = 0; i < missing.size(); ++i) missing[i] = wanted[i] - missing[i];
  const Tensor residual = exec.take(y.rows, y.cols), back = exec.take(x.rows, x.cols);
  backend_.upload(view(missing.data(), y.rows, y.cols, DType::f64), residual);
  backend_.gemm(Trans::yes, Trans::no, weight_.tensor, residual, back, Write::overwrite);
  const std::int32_t all[] = {0, static_cast<std::int32_t>(x.cols)};
  backend_.segment_dot(back, x, exec.integers(all), products_.tensor);
  const std::vector<double> products = downloaded<double>(backend_, products_.tensor);
  for (std::size_t j = 0; j < right_.size(); ++j) right_[j] += products[j];
  backend_.gemm(Trans::no, Trans::yes, x, x, gram_.tensor, Write::add);
}

// ⟨W_i X_i, W_j X_j⟩ is the sum of a block of (WᵀW) ∘ (X Xᵀ).
std::vector<double> ScaleFit::solve(double damp) const {
  const auto blocks = static_cast<std::int64_t>(right_.size());
  const Storage inner = make_storage(backend_, gram_.tensor.rows, gram_.tensor.cols, backend_.real());
  backend_.gemm(Trans::yes, Trans::no, weight_.tensor, weight_.tensor, inner.tensor, Write::overwrite);
  const Matrix whole = matrix_of(backend_, inner.tensor).cwiseProduct(matrix_of(backend_, gram_.tensor));
  Eigen::MatrixXd normal(blocks, blocks);
  for (std::int64_t i = 0; i < blocks; ++i) {
    for (std::int64_t j = 0; j < blocks; ++j) normal(i, j) = whole.block(i * block_, j * block_, block_, block_).sum();
  }
  if (blocks > 0) normal.diagonal().array() += damp * damp * normal.diagonal().mean();
  const Eigen::VectorXd right = Eigen::Map<const Eigen::VectorXd>(right_.data(), blocks);
  const Eigen::VectorXd r = normal.selfadjointView<Eigen::Lower>().ldlt().solve(right);
  std::vector<double> factors;
  for (const double x : r) factors.push_back(1.0 + x);
  return factors;
}

// ---- weights --------------------------------------------------------------------------------------------------------

namespace {

std::shared_ptr<Parameter> scaled(Backend& backend, const Parameter& parameter, const std::vector<double>& factors) {
  const Tensor x = parameter.tensor();
  std::vector<double> host = downloaded<double>(backend, x);
  for (std::size_t i = 0; i < host.size(); ++i) host[i] *= factors[i % factors.size()];
  Storage value = make_storage(backend, x.rows, x.cols, x.dtype);
  if (!host.empty()) backend.upload(view(host.data(), x.rows, x.cols, DType::f64), value.tensor);
  return parameter_like(parameter, std::move(value));
}

}  // namespace

std::shared_ptr<LinearWeight> scaled_columns(Backend& backend, LinearWeight& weight, const std::vector<double>& factors,
                                             const std::string& path) {
  std::shared_ptr<LinearWeight> made;
  if (auto* dense = dynamic_cast<DenseWeight*>(&weight)) {
    made = std::make_shared<DenseWeight>(scaled(backend, *dense->parameter(), factors));
  } else if (auto* masked = dynamic_cast<MaskedWeight*>(&weight)) {
    auto copy = std::make_shared<MaskedWeight>(backend, scaled(backend, *masked->parameter(), factors),
                                               masked->scores() != nullptr);
    backend.copy(masked->mask().tensor, copy->mask().tensor);
    if (masked->scores()) backend.copy(masked->scores()->tensor(), copy->scores()->tensor());
    made = copy;
  } else if (auto* csr = dynamic_cast<CsrWeight*>(&weight)) {
    const auto columns = downloaded<std::int32_t>(backend, csr->pattern().columns);
    std::vector<double> of_values;
    for (const std::int32_t column : columns) of_values.push_back(factors[static_cast<std::size_t>(column)]);
    made = std::make_shared<CsrWeight>(csr->out(), csr->in(),
                                       stored(backend, downloaded<std::int32_t>(backend, csr->pattern().row_start)),
                                       stored(backend, columns), scaled(backend, csr->values(), of_values));
  } else {
    fail(ErrorKind::usage, path, ": found a weight of kind ", weight.kind(),
         ", expected dense, masked or csr to scale its columns");
  }
  made->refresh(backend);
  return made;
}

// ---- layer by layer -------------------------------------------------------------------------------------------------

namespace {

// Each factor for `block` columns.
std::vector<double> repeated(const std::vector<double>& factors, std::int64_t block) {
  std::vector<double> all;
  for (const double factor : factors) all.insert(all.end(), static_cast<std::size_t>(block), factor);
  return all;
}

bool usable(const std::vector<double>& factors) {
  constexpr double most = 10;
  return std::ranges::all_of(factors, [](double factor) { return std::abs(factor) <= most; });
}

}  // namespace

void rescale_parts(Backend& backend, Model& model, std::vector<EncoderLayer> before, const Calibration& calibration,
                   std::int64_t batch_size) {
  constexpr double damp = 1;
  model.refresh(backend);  // stacked products would go past the single maps
  Travelling wanted(backend, model, calibration, batch_size), texts(backend, model, calibration, batch_size);
  const std::size_t layers = model.layers.size();
  for (std::size_t i = 0; i < layers; ++i) {
    EncoderLayer &layer = model.layers[i], &old = before[i];
    const bool is_last = i + 1 == layers, first_tokens = is_last && model.pooler.has_value();
    bool went_on = is_last;  // `wanted` stands behind this layer
    for (const auto& [map, old_map, block, part] :
         {std::tuple{&layer.attention_output, &old.attention_output, layer.shape.head_dim, "attention output"},
          {&layer.ffn_out, &old.ffn_out, std::int64_t{1}, "feed-forward out"}}) {
      if (map->weight->in() == 0 || (i == 0 && map == &layer.attention_output)) continue;
      ScaleFit fit(backend, *map->weight, block);
      {
        const bool go_on = !went_on && map == &layer.ffn_out;
        std::vector<double> sums;  // of one batch, before the LayerNorm
        Seeing seeing;
        seeing.add(*old_map, {.forward = [&](Tensor, Tensor y) { sums = downloaded<double>(backend, y); }});
        seeing.add(*map, {.forward = [&](Tensor x, Tensor y) { fit.add(x, y, sums); }});
        for (std::size_t batch = 0; batch < texts.batches(); ++batch) {
          wanted.run(old, first_tokens, batch, go_on);
          texts.run(layer, first_tokens, batch, false);
        }
        went_on = went_on || go_on;
      }
      const std::vector<double> factors = fit.solve(damp);
      if (!usable(factors)) return;
      map->weight = scaled_columns(backend, *map->weight, repeated(factors, block), text("layer ", i, ", ", part));
    }
    if (!went_on) wanted.run(old, false, true);
    if (!is_last) texts.run(layer, false, true);
  }
}

}  // namespace bertx::compress
