#include <cassert>

#include "bertx/tucker_weight.h"

namespace bertx {

TuckerWeight::TuckerWeight(TuckerBasis basis, std::shared_ptr<Parameter> mix, std::int64_t rows, std::int64_t columns)
    : basis_(std::move(basis)),
      mix_(std::move(mix)),
      rows_(rows),
      columns_(columns),
      left_rank_(basis_.left->in()),
      right_rank_(basis_.right->out()) {
  assert(mix_->tensor().rows == rows * columns && mix_->tensor().cols == basis_.cores->tensor().rows);
  assert(basis_.cores->tensor().cols == left_rank_ * right_rank_ && basis_.left->out() == basis_.right->in());
}

// C [r1, r2] of one block, as a view of a row.
Tensor TuckerWeight::core(std::int64_t row, std::int64_t column) const {
  return view(combined_.tensor.row_range(row * columns_ + column, 1).data, left_rank_, right_rank_,
              combined_.tensor.dtype);
}

// x [columns·D, T] -> z [columns·r2, T], V on each block
void TuckerWeight::project(Exec& exec, Tensor x, Tensor z) const {
  const std::int64_t width = basis_.right->in();
  for (std::int64_t k = 0; k < columns_; ++k) {
    basis_.right->apply(exec, x.row_range(k * width, width), z.row_range(k * right_rank_, right_rank_), {});
  }
}

// z [columns·r2, T] -> c [rows·r1, T]
void TuckerWeight::combine(Exec& exec, Tensor z, Tensor c) const {
  for (std::int64_t i = 0; i < rows_; ++i) {
    for (std::int64_t k = 0; k < columns_; ++k) {
      exec.backend.gemm(Trans::no, Trans::no, core(i, k), z.row_range(k * right_rank_, right_rank_),
                        c.row_range(i * left_rank_, left_rank_), k == 0 ? Write::overwrite : Write::add);
    }
  }
}

// c [rows·r1, T] -> y [rows·D, T], U on each block
void TuckerWeight::expand(Exec& exec, Tensor c, Tensor y, const Epilogue& epilogue) const {
  const std::int64_t height = basis_.left->out();
  const auto part = [&](Tensor t, std::int64_t i) { return t.empty() ? t : t.row_range(i * height, height); };
  for (std::int64_t i = 0; i < rows_; ++i) {
    basis_.left->apply(exec, c.row_range(i * left_rank_, left_rank_), part(y, i),
                       {part(epilogue.bias, i), epilogue.activation, part(epilogue.residual, i)});
  }
}

// y [rows·D, T] = activation(W x [columns·D, T] + bias) + residual
void TuckerWeight::apply(Exec& exec, Tensor x, Tensor y, const Epilogue& epilogue) const {
  if (form_ == Form::whole) return folded_->apply(exec, x, y, epilogue);
  const Arena::Mark mark = exec.arena.mark();
  if (form_ == Form::left) {
    const Tensor z = exec.take(columns_ * right_rank_, x.cols);
    project(exec, x, z);
    folded_->apply(exec, z, y, epilogue);
  } else if (form_ == Form::right) {
    const Tensor c = exec.take(rows_ * left_rank_, x.cols);
    folded_->apply(exec, x, c, {});
    expand(exec, c, y, epilogue);
  } else {
    const Tensor z = exec.take(columns_ * right_rank_, x.cols), c = exec.take(rows_ * left_rank_, x.cols);
    project(exec, x, z);
    combine(exec, z, c);
    expand(exec, c, y, epilogue);
  }
  exec.arena.rewind(mark);
}

// With z = V x, c = C z: dU += dy cᵀ; dc = Uᵀ dy; dC = dc zᵀ; dP_j += ⟨dC, G_j⟩; dG_j += P_j dC; dz = Cᵀ dc;
// dV += dz xᵀ; dx = Vᵀ dz. z and c are made again rather than kept, as in a low rank.
void TuckerWeight::apply_grad(Exec& exec, Tensor x, Tensor dy, Tensor dx, Write write) {
  Backend& backend = exec.backend;
  const std::int64_t width = basis_.right->in(), height = basis_.left->out(), tokens = x.cols;
  const Arena::Mark mark = exec.arena.mark();
  const Tensor z = exec.take(columns_ * right_rank_, tokens), c = exec.take(rows_ * left_rank_, tokens);
  const Tensor dz = exec.take(columns_ * right_rank_, tokens), dc = exec.take(rows_ * left_rank_, tokens);
  const auto z_of = [&](Tensor all, std::int64_t k) { return all.row_range(k * right_rank_, right_rank_); };
  const auto c_of = [&](Tensor all, std::int64_t i) { return all.row_range(i * left_rank_, left_rank_); };
  project(exec, x, z);
  combine(exec, z, c);

  for (std::int64_t i = 0; i < rows_; ++i) {
    basis_.left->apply_grad(exec, c_of(c, i), dy.row_range(i * height, height), c_of(dc, i), Write::overwrite);
  }

  const Tensor dmix = mix_->gradient(), dcores = basis_.cores->gradient();
  if (!dmix.empty() || !dcores.empty()) {
    const Tensor dcombined = exec.take(rows_ * columns_, left_rank_ * right_rank_);
    for (std::int64_t i = 0; i < rows_; ++i) {
      for (std::int64_t k = 0; k < columns_; ++k) {
        const Tensor row = dcombined.row_range(i * columns_ + k, 1);
        backend.gemm(Trans::no, Trans::yes, c_of(dc, i), z_of(z, k), view(row.data, left_rank_, right_rank_, row.dtype),
                     Write::overwrite);
      }
    }
    if (!dmix.empty()) {
      backend.gemm(Trans::no, Trans::yes, dcombined, basis_.cores->tensor(), dmix, Write::add);
    }
    if (!dcores.empty()) backend.gemm(Trans::yes, Trans::no, mix_->tensor(), dcombined, dcores, Write::add);
  }

  for (std::int64_t k = 0; k < columns_; ++k) {
    for (std::int64_t i = 0; i < rows_; ++i) {
      backend.gemm(Trans::yes, Trans::no, core(i, k), c_of(dc, i), z_of(dz, k), i == 0 ? Write::overwrite : Write::add);
    }
    basis_.right->apply_grad(exec, x.row_range(k * width, width), z_of(dz, k),
                             dx.empty() ? dx : dx.row_range(k * width, width), write);
  }
  exec.arena.rewind(mark);
}

void TuckerWeight::visit(const std::string& path, const Visit& parameter) {
  parameter(path + ".mix", *mix_);
  parameter(path + ".cores", *basis_.cores);
  basis_.left->visit(path + ".left", parameter);
  basis_.right->visit(path + ".right", parameter);
}

void TuckerWeight::structure(const std::string& path, const VisitStructure& part) {
  basis_.left->structure(path + ".left", part);
  basis_.right->structure(path + ".right", part);
}

void TuckerWeight::refresh(Backend& backend) {
  folded_.reset();
  form_ = Form::plain;
  basis_.left->refresh(backend);
  basis_.right->refresh(backend);
  if (combined_.tensor.empty()) {
    combined_ = make_storage(backend, rows_ * columns_, left_rank_ * right_rank_, backend.real());
  }
  backend.gemm(Trans::no, Trans::no, mix_->tensor(), basis_.cores->tensor(), combined_.tensor, Write::overwrite);
}

// ---- at inference ---------------------------------------------------------------------------------------------------

std::int64_t TuckerWeight::multiplies_of(Form form) const {
  const std::int64_t width = basis_.right->in(), height = basis_.left->out(), blocks = rows_ * columns_;
  const std::int64_t project = columns_ * basis_.right->multiplies(), expand = rows_ * basis_.left->multiplies();
  switch (form) {
    case Form::plain: return project + blocks * left_rank_ * right_rank_ + expand;
    case Form::left: return project + blocks * height * right_rank_;
    case Form::right: return blocks * left_rank_ * width + expand;
    case Form::whole: return out() * in();
  }
  return 0;
}

TuckerWeight::Form TuckerWeight::cheapest() const {
  Form best = Form::plain;
  for (const Form form : {Form::left, Form::right, Form::whole}) {
    if (multiplies_of(form) < multiplies_of(best)) best = form;
  }
  return best;
}

void TuckerWeight::prepare(Backend& backend) {
  if (folded_) return;
  const Form form = cheapest();
  const std::int64_t width = basis_.right->in(), height = basis_.left->out();
  if (form != Form::plain) {
    auto product = std::make_shared<Parameter>();
    if (form == Form::whole) {
      product->value = make_storage(backend, out(), in(), backend.real());
      materialize(backend, product->tensor());
    } else if (form == Form::left) {  // [rows·D, columns·r2]
      const Storage u = make_storage(backend, height, left_rank_, backend.real());
      basis_.left->materialize(backend, u.tensor);
      product->value = make_storage(backend, out(), columns_ * right_rank_, backend.real());
      for (std::int64_t i = 0; i < rows_; ++i) {
        for (std::int64_t k = 0; k < columns_; ++k) {
          const Tensor block = product->tensor().row_range(i * height, height).col_range(k * right_rank_, right_rank_);
          backend.gemm(Trans::no, Trans::no, u.tensor, core(i, k), block, Write::overwrite);
        }
      }
    } else {  // [rows·r1, columns·D]
      const Storage v = make_storage(backend, right_rank_, width, backend.real());
      basis_.right->materialize(backend, v.tensor);
      product->value = make_storage(backend, rows_ * left_rank_, in(), backend.real());
      for (std::int64_t i = 0; i < rows_; ++i) {
        for (std::int64_t k = 0; k < columns_; ++k) {
          const Tensor block = product->tensor().row_range(i * left_rank_, left_rank_).col_range(k * width, width);
          backend.gemm(Trans::no, Trans::no, core(i, k), v.tensor, block, Write::overwrite);
        }
      }
    }
    folded_ = std::make_shared<DenseWeight>(std::move(product), false);
    folded_->prepare(backend);
    form_ = form;
  }
  if (form != Form::whole && form != Form::left) basis_.left->prepare(backend);
  if (form != Form::whole && form != Form::right) basis_.right->prepare(backend);
}

void TuckerWeight::materialize(Backend& backend, Tensor out_matrix) const {
  const std::int64_t width = basis_.right->in(), height = basis_.left->out();
  const DType real = backend.real();
  const Storage u = make_storage(backend, height, left_rank_, real),
                v = make_storage(backend, right_rank_, width, real),
                uc = make_storage(backend, height, right_rank_, real);
  basis_.left->materialize(backend, u.tensor);
  basis_.right->materialize(backend, v.tensor);
  for (std::int64_t i = 0; i < rows_; ++i) {
    for (std::int64_t k = 0; k < columns_; ++k) {
      backend.gemm(Trans::no, Trans::no, u.tensor, core(i, k), uc.tensor, Write::overwrite);
      backend.gemm(Trans::no, Trans::no, uc.tensor, v.tensor,
                   out_matrix.row_range(i * height, height).col_range(k * width, width), Write::overwrite);
    }
  }
}

std::string TuckerWeight::kernel() const {
  switch (form_) {
    case Form::plain: return basis_.left->kernel() + " · dense · " + basis_.right->kernel();
    case Form::left: return folded_->kernel() + " · " + basis_.right->kernel();
    case Form::right: return basis_.left->kernel() + " · " + folded_->kernel();
    case Form::whole: return folded_->kernel();
  }
  return {};
}

}  // namespace bertx
