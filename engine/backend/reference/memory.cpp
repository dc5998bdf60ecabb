#include "backend/reference/reference.h"
#include "core/host_memory.h"

namespace bertx {

Buffer ReferenceBackend::allocate(std::size_t bytes) { return allocate_host(bytes); }
void ReferenceBackend::upload(Tensor host, Tensor device) { convert_host(host, device); }
void ReferenceBackend::download(Tensor device, Tensor host) { convert_host(device, host); }
void ReferenceBackend::fill(Tensor x, double value) { fill_host(x, value); }

void ReferenceBackend::copy(Tensor from, Tensor to) {
  assert(from.dtype == to.dtype);
  convert_host(from, to);
}

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace bertx
