#include "backend/cuda/sparse_weights.h"

#include <optional>

#include "backend/cuda/rounded.h"
#include "bertx/error.h"

namespace bertx::cuda {
namespace {

namespace ours = sparse::cuda;
using ours::Form, ours::Number;

/// Calls product(x) with x in the type of the weight's numbers.
template <class Product>
void with_numbers(Device& device, Number number, Tensor x, const Product& product) {
  if (number == Number::bf16) {
    const Rounded rounded(device, x);
    check(static_cast<cudaError_t>(product(ours::Input{rounded.data(), rounded.stride()})), "sparse product");
  } else {
    check(static_cast<cudaError_t>(product(input(x))), "sparse product");
  }
}

/// CSR as it is. Beyond a few tokens `form`, or without one that of the rule.
class RowsWeight final : public Weight {
 public:
  RowsWeight(std::shared_ptr<const SparseMatrix> matrix, std::optional<Form> form)
      : matrix_(std::move(matrix)), form_(form) {}
  std::string_view kernel() const override { return matrix_->csr.number == Number::bf16 ? "csr-bf16" : "csr"; }
  std::size_t bytes() const override { return matrix_->bytes(); }
  const void* storage() const override { return matrix_.get(); }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    const ours::Csr& w = matrix_->csr;
    const Form usual = ours::usual_form(w.rows, x.cols, w.number);
    with_numbers(matrix_->device, w.number, x, [&](ours::Input numbers) {
      return ours::spmm(matrix_->device.stream(), w, numbers, output(y), x.cols, inside(epilogue),
                        usual == Form::few || !form_ ? usual : *form_);
    });
  }

 private:
  std::shared_ptr<const SparseMatrix> matrix_;
  std::optional<Form> form_;
};

/// Cut into tiles whose activations lie in shared memory.
class TiledWeight final : public Weight {
 public:
  TiledWeight(Device& device, const ours::TiledLayout& layout)
      : device_(device),
        rows_of_(array_on_device(device, layout.rows_of)),
        cell_start_(array_on_device(device, layout.cell_start)),
        segments_(array_on_device(device, layout.segments)),
        entries_(array_on_device(device, layout.entries)),
        tiled_(layout.shape) {
    const auto numbers = [](const Buffer& buffer) { return static_cast<const std::int32_t*>(buffer.data.get()); };
    tiled_.rows_of = numbers(rows_of_);
    tiled_.cell_start = numbers(cell_start_);
    tiled_.segments = numbers(segments_);
    tiled_.entries = entries_.data.get();
  }
  std::string_view kernel() const override { return tiled_.number == Number::bf16 ? "csr-tiled-bf16" : "csr-tiled"; }
  std::size_t bytes() const override { return rows_of_.bytes + cell_start_.bytes + segments_.bytes + entries_.bytes; }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    with_numbers(device_, tiled_.number, x, [&](ours::Input numbers) {
      return ours::spmm_tiled(device_.stream(), tiled_, numbers, output(y), x.cols, inside(epilogue));
    });
  }

 private:
  Device& device_;
  Buffer rows_of_, cell_start_, segments_, entries_;
  ours::Tiled tiled_;
};

constexpr int kTileColumns[] = {64, 128};

/// Two of each four columns, by tensor cores.
class StructuredWeight final : public Weight {
 public:
  StructuredWeight(Device& device, const ours::StructuredLayout& layout)
      : device_(device),
        values_(array_on_device(device, layout.values)),
        places_(array_on_device(device, layout.places)),
        structured_(layout.shape) {
    structured_.values = static_cast<const std::uint16_t*>(values_.data.get());
    structured_.places = static_cast<const std::uint32_t*>(places_.data.get());
  }
  std::string_view kernel() const override { return "2:4-bf16"; }
  std::size_t bytes() const override { return values_.bytes + places_.bytes; }
  // Y [rows, T] = activation(W X [cols, T] + bias) + residual
  void apply(Tensor x, Tensor y, const Epilogue& epilogue) const override {
    with_numbers(device_, Number::bf16, x, [&](ours::Input numbers) {
      return ours::spmm_structured(device_.stream(), structured_, numbers, output(y), x.cols, inside(epilogue));
    });
  }

 private:
  Device& device_;
  Buffer values_, places_;
  ours::Structured structured_;
};

}  // namespace

SparseMatrix::SparseMatrix(Device& on, const CsrPattern& pattern, Tensor values, bool bf16)
    : device(on),
      host_starts(array_on_host<std::int32_t>(device, pattern.row_start.data, pattern.rows + 1)),
      host_columns(array_on_host<std::int32_t>(device, pattern.columns.data, pattern.nnz)),
      host_values(array_on_host<float>(device, values.data, pattern.nnz)),
      starts(array_on_device(device, host_starts)),
      columns(array_on_device(device, host_columns)),
      order(array_on_device(device, sparse::cuda::longest_first(pattern.rows, host_starts.data()))) {
  const std::size_t bytes = static_cast<std::size_t>(pattern.nnz) * (bf16 ? sizeof(std::uint16_t) : sizeof(float));
  numbers = device.allocate(bytes);
  if (bf16) {
    to_bf16(device.stream(), const_matrix(values), {1, pattern.nnz},
            {static_cast<std::uint16_t*>(numbers.data.get()), pattern.nnz});
  } else {
    device.write(host_values.data(), numbers.data.get(), bytes);
  }
  csr = {pattern.rows,
         pattern.cols,
         pattern.nnz,
         static_cast<const std::int32_t*>(starts.data.get()),
         static_cast<const std::int32_t*>(columns.data.get()),
         numbers.data.get(),
         bf16 ? Number::bf16 : Number::f32,
         static_cast<const std::int32_t*>(order.data.get())};
}

std::vector<Candidate> sparse_candidates(const std::shared_ptr<const SparseMatrix>& matrix) {
  std::vector<Candidate> out;
  const auto rows = [&](std::string name, std::optional<Form> form) {
    out.push_back({std::move(name), [matrix, form] { return std::make_unique<RowsWeight>(matrix, form); }});
  };
  const Number number = matrix->csr.number;
  rows("csr", std::nullopt);
  if (!tuning_wanted()) return out;
  rows("csr, 8 lanes a row", Form::rows_8);
  rows("csr, 32 tokens", Form::rows_32);
  rows("csr, 128 tokens", Form::rows_128);
  if (number == Number::bf16) rows("csr, 256 tokens", Form::rows_256);
  if (number == Number::bf16 && ours::two_of_four(matrix->on_host())) {
    out.push_back({"2:4", [matrix] {
                     return std::make_unique<StructuredWeight>(matrix->device,
                                                               ours::structured_layout(matrix->on_host()));
                   }});
  }
  for (const int tile : kTileColumns) {
    ours::TiledOptions options;
    options.tile_columns = tile;
    options.number = number;
    auto layout = std::make_shared<const ours::TiledLayout>(ours::tiled_layout(matrix->on_host(), options));
    if (!ours::tiled_fits(layout->shape)) continue;
    out.push_back({text("csr, tiles of ", tile),
                   [matrix, layout] { return std::make_unique<TiledWeight>(matrix->device, *layout); }});
  }
  return out;
}

}  // namespace bertx::cuda
