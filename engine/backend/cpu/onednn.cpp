// Two ways of oneDNN to multiply, each where it was measured to be the faster (GFLOP/s of one AVX-512 core, 768x768 to
// 768x3072 and MiniLM's shapes, oneDNN 2.6.3 and 3.2 alike; the core's peak is 110-117):
//
//   columns            384      128     32      16
//   dnnl_sgemm         110      107    88-90   62-66
//   matmul primitive   108    107-110  104-108 101-108
//
// So wide products are dnnl_sgemm, which takes any number of columns without a primitive to create (a ragged training
// batch has a new one each step), and the narrow ones are primitives, kept in a cache, with the columns rounded up to
// 16 within the stride (otherwise it falls back to a slow gemm). Packed weights bring nothing: with format "any" the
// primitive asks for the plain layout. bf16 is always a primitive: 205-220 from 64 columns on, in all transpositions,
// and creating one takes 0.1-0.2 ms. Up to 8 columns few_tokens_kernels.cpp is faster still.
#include "backend/cpu/onednn.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <list>
#include <map>
#include <mutex>

#include "bertx/error.h"
#include "bertx/sparse/isa.h"

namespace bertx::cpu {

namespace {

constexpr std::int64_t kNarrow = 64;  // up to so many columns a primitive is used
constexpr std::int64_t kRound = 16;
// A model has about four shapes, a bf16 training step three products of each, and a ragged batch a width of its own.
constexpr std::size_t kCacheEntries = 512;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// One stream a thread: a stream is not to be shared.
dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

// m, n, k, strides, transpositions, add; threads, since a primitive is made for as many as there are at that time; bf16
using Key = std::array<std::int64_t, 11>;

struct Product {
  dnnl::memory::desc a, b, c;
  dnnl::matmul primitive;
};

dnnl::memory::desc describe(std::int64_t rows, std::int64_t cols, std::int64_t stride, bool transposed,
                            dnnl::memory::data_type type) {
  const dnnl::memory::dims strides = transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1};
  return dnnl::memory::desc({rows, cols}, type, strides);
}

Product create(const Key& key) {
  const auto [m, n, k, lda, ldb, ldc, trans_a, trans_b, add, threads, bf16] = key;
  using Type = dnnl::memory::data_type;
  const Type type = bf16 != 0 ? Type::bf16 : Type::f32;
  Product product{describe(m, k, lda, trans_a != 0, type),
                  describe(k, n, ldb, trans_b != 0, type),
                  describe(m, n, ldc, false, Type::f32),
                  {}};
  dnnl::primitive_attr attributes;
  if (add != 0) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  product.primitive = dnnl::matmul(dnnl::matmul::primitive_desc(engine(), product.a, product.b, product.c, attributes));
#else
  product.primitive = dnnl::matmul(
      dnnl::matmul::primitive_desc(dnnl::matmul::desc(product.a, product.b, product.c), attributes, engine()));
#endif
  return product;
}

/// The primitives last used, over all threads; the one longest unused makes room.
class Cache {
 public:
  Product get(const Key& key) {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = index_.find(key); found != index_.end()) {
        order_.splice(order_.begin(), order_, found->second);
        return found->second->second;
      }
    }
    Product product = create(key);  // outside of the lock: it may compile a kernel
    const std::lock_guard lock(mutex_);
    if (index_.find(key) == index_.end()) {
      order_.emplace_front(key, product);
      index_[key] = order_.begin();
      if (order_.size() > kCacheEntries) {
        index_.erase(order_.back().first);
        order_.pop_back();
      }
    }
    return product;
  }

 private:
  std::mutex mutex_;
  std::list<std::pair<Key, Product>> order_;  // the last used first
  std::map<Key, std::list<std::pair<Key, Product>>::iterator> index_;
};

Cache& cache() {
  static Cache products;
  return products;
}

[[noreturn]] void report(dnnl_status_t status, std::int64_t m, std::int64_t n, std::int64_t k) {
  fail(status == dnnl_out_of_memory ? ErrorKind::out_of_memory : ErrorKind::numeric, "oneDNN ", onednn_version(),
       " cannot multiply [", m, ", ", k, "] by [", k, ", ", n, "]: status ", static_cast<int>(status));
}

void run_primitive(const Key& key, Factor a, Factor b, float* c) {
  try {
    const Product product = cache().get(key);
    const auto memory = [](const dnnl::memory::desc& layout, const void* data) {
      return dnnl::memory(layout, engine(), const_cast<void*>(data));
    };
    product.primitive.execute(stream(), {{DNNL_ARG_SRC, memory(product.a, a.data)},
                                         {DNNL_ARG_WEIGHTS, memory(product.b, b.data)},
                                         {DNNL_ARG_DST, memory(product.c, c)}});
    stream().wait();
  } catch (const dnnl::error& error) {
    report(error.status, key[0], key[1], key[2]);
  }
}

/// Zeros in the columns from n to `cols` of B [k, cols]. What a former activation left there would change no result, but
/// among such bits are subnormal numbers, with which a multiplication takes a hundred cycles.
void clear_scratch(Factor b, std::int64_t k, std::int64_t n, std::int64_t cols) {
  float* const first = static_cast<float*>(const_cast<void*>(b.data));  // scratch is anyone's, see Tensor
  for (std::int64_t i = 0; i < k; ++i) std::fill(first + i * b.stride + n, first + i * b.stride + cols, 0.0f);
}

}  // namespace

void dense_product(std::int64_t m, std::int64_t n, std::int64_t k, Factor a, Factor b, float* c, std::int64_t ldc,
                   bool add, std::int64_t writable_cols) {
  const bool bf16 = a.type == DType::bf16;
  if (bf16 || (n <= kNarrow && !b.transposed)) {
    const std::int64_t rounded = (n + kRound - 1) / kRound * kRound;
    // A single column stays one: a matrix times a vector is bound by memory, and oneDNN has a kernel for it.
    const std::int64_t cols = n > 1 && !b.transposed && rounded <= writable_cols ? rounded : n;
    if (!bf16 && cols > n) clear_scratch(b, k, n, cols);  // what is bf16 was copied, with zeros behind it
    const std::int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    return run_primitive({m, cols, k, a.stride, b.stride, ldc, a.transposed, b.transposed, add, threads, bf16}, a, b,
                         c);
  }
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f, static_cast<const float*>(a.data),
                 a.stride, static_cast<const float*>(b.data), b.stride, add ? 1.0f : 0.0f, c, ldc);
  if (status != dnnl_success) report(status, m, n, k);
}

bool bf16_products() {
  static const bool available = [] {
    const int isa = static_cast<int>(dnnl::get_effective_cpu_isa());
    constexpr int wanted = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);  // values are sets of bits
    return (isa & wanted) == wanted;
  }();
  return available && sparse::active_bf16_dot();
}

std::string onednn_version() {
  const dnnl_version_t* const version = dnnl_version();
  return text(version->major, ".", version->minor, ".", version->patch);
}

}  // namespace bertx::cpu
