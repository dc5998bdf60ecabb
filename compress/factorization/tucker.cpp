// Tucker decomposition over the matrices of all layers (Wang et al. 2022, 2205.10036): the 4D×D and D×4D feed-forward
// matrices are four slices each, so that a layer has twelve D×D slices, W_l = U (Σ_j P_lj G_j) V with U, V and G of
// all. U, V and P start as the leading singular vectors of the three unfoldings (HOSVD; De Lathauwer et al. 2000) and
// then take turns, each the best for the other two (HOOI). Biases and LayerNorms stay. The paper's sizes are half of
// the full ones; what is lost needs training, in the paper distillation.
#include <Eigen/Eigenvalues>
#include <functional>
#include <unordered_map>

#include "bertx/error.h"
#include "bertx/tucker_weight.h"
#include "factorization/decompose.h"
#include "factorization/methods.h"

namespace bertx::compress {
namespace {

/// The slices of one model, read from its weights each time: of a large model they would fill the memory.
class Slices {
 public:
  Slices(Backend& backend, Model& model) : backend_(backend), width_(model.config.hidden) {
    model.visit_linears([&](const std::string& path, Linear& linear) {
      const LinearWeight& w = *linear.weight;
      if (w.out() == 0 || w.in() == 0 || w.out() % width_ != 0 || w.in() % width_ != 0) {
        fail(ErrorKind::usage, path, ": found a matrix [", w.out(), ", ", w.in(), "], expected multiples of the ",
             "hidden size ", width_, " to cut slices from: tucker takes layers that have lost no heads or neurons");
      }
      linears_.push_back(&linear);
      count_ += w.out() / width_ * (w.in() / width_);
    });
  }
  std::int64_t count() const { return count_; }
  std::int64_t width() const { return width_; }
  const std::vector<Linear*>& linears() const { return linears_; }
  std::int64_t rows(const Linear& linear) const { return linear.weight->out() / width_; }
  std::int64_t columns(const Linear& linear) const { return linear.weight->in() / width_; }

  /// In the order of the lines of P: matrix by matrix, block row by block row.
  void each(const std::function<void(std::int64_t slice, const Matrix&)>& seen) const {
    std::int64_t slice = 0;
    for (const Linear* linear : linears_) {
      const Matrix whole = matrix_of(backend_, *linear->weight);
      for (std::int64_t i = 0; i < rows(*linear); ++i) {
        for (std::int64_t k = 0; k < columns(*linear); ++k) {
          seen(slice++, whole.block(i * width_, k * width_, width_, width_));
        }
      }
    }
  }

 private:
  Backend& backend_;
  std::int64_t width_, count_ = 0;
  std::vector<Linear*> linears_;
};

/// The eigenvectors [n, count] of a symmetric matrix with the largest eigenvalues.
Matrix leading(const Matrix& symmetric, std::int64_t count) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(symmetric);
  if (solver.info() != Eigen::Success) {
    fail(ErrorKind::numeric, "tucker: the eigenvectors of a matrix [", symmetric.rows(), ", ", symmetric.cols(),
         "] do not converge, expected finite weights");
  }
  return solver.eigenvectors().rowwise().reverse().leftCols(count);
}

/// U [D, r], V [r, D], P [N, J], all with orthonormal columns (V: rows); G [J, r·r].
struct Tucker {
  Matrix u, v, mix, cores;
};

// The rows of M [N, r·r]: U^T W_l V^T of each slice. P are the leading directions of its rows, G = P^T M.
void solve_mix(const Slices& slices, Tucker& t, std::int64_t cores) {
  const std::int64_t r = t.u.cols();
  Matrix m(slices.count(), r * r);
  slices.each([&](std::int64_t l, const Matrix& w) {
    const Matrix small = t.u.transpose() * w * t.v.transpose();
    m.row(l) = small.reshaped<Eigen::RowMajor>().transpose();
  });
  t.mix = leading(m * m.transpose(), cores);
  t.cores = t.mix.transpose() * m;
}

Tucker hosvd(const Slices& slices, std::int64_t rank, std::int64_t cores) {
  Matrix outputs = Matrix::Zero(slices.width(), slices.width()), inputs = outputs;
  slices.each([&](std::int64_t, const Matrix& w) {
    outputs.noalias() += w * w.transpose();
    inputs.noalias() += w.transpose() * w;
  });
  Tucker t;
  t.u = leading(outputs, rank);
  t.v = leading(inputs, rank).transpose();
  solve_mix(slices, t, cores);
  return t;
}

// Y_j = Σ_l P_lj W_l V^T [D, r] side by side: U spans what matters of their columns. The same for V from the rows of
// Z_j = Σ_l P_lj U^T W_l.
void improve(const Slices& slices, Tucker& t) {
  const std::int64_t d = slices.width(), rank = t.u.cols(), cores = t.mix.cols();
  Matrix y = Matrix::Zero(d, cores * rank);
  slices.each([&](std::int64_t l, const Matrix& w) {
    const Matrix projected = w * t.v.transpose();
    for (std::int64_t j = 0; j < cores; ++j) y.middleCols(j * rank, rank) += t.mix(l, j) * projected;
  });
  t.u = leading(y * y.transpose(), rank);

  y.setZero();
  slices.each([&](std::int64_t l, const Matrix& w) {
    const Matrix projected = w.transpose() * t.u;
    for (std::int64_t j = 0; j < cores; ++j) y.middleCols(j * rank, rank) += t.mix(l, j) * projected;
  });
  t.v = leading(y * y.transpose(), rank).transpose();
  solve_mix(slices, t, cores);
}

std::int64_t size_within(std::string_view option, std::optional<std::int64_t> asked, std::int64_t full,
                         std::string_view what) {
  const std::int64_t size = asked.value_or(std::max<std::int64_t>(1, full / 2));
  if (size <= full) return size;
  fail(ErrorKind::usage, option, ": found ", size, ", expected at most ", full, ", ", what);
}

}  // namespace

void tucker_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration&) {
  const Slices slices(backend, model);
  const std::int64_t rank = size_within("tucker_rank", recipe.tucker_rank, slices.width(), "the hidden size");
  const std::int64_t cores = size_within("tucker_cores", recipe.tucker_cores, slices.count(), "the number of slices");
  Tucker t = hosvd(slices, rank, cores);
  for (std::int64_t n = 0; n < recipe.alternations; ++n) improve(slices, t);

  const TuckerBasis basis{std::make_shared<DenseWeight>(parameter_of(backend, t.u), false),
                          std::make_shared<DenseWeight>(parameter_of(backend, t.v), false),
                          parameter_of(backend, t.cores)};
  // Layers that share a matrix go on sharing it: its slices count as often as they are used.
  std::unordered_map<const LinearWeight*, std::shared_ptr<LinearWeight>> made;
  std::int64_t first = 0;
  for (Linear* linear : slices.linears()) {
    const std::int64_t rows = slices.rows(*linear), columns = slices.columns(*linear);
    std::shared_ptr<LinearWeight>& weight = made[linear->weight.get()];
    if (!weight) {
      const Matrix mix = t.mix.middleRows(first, rows * columns);
      weight = std::make_shared<TuckerWeight>(basis, parameter_of(backend, mix), rows, columns);
    }
    linear->weight = weight;
    first += rows * columns;
  }
  model.refresh(backend);
}

}  // namespace bertx::compress
