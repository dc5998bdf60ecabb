#include "grid.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "async_copies.h"
#include "fiber.h"

uint3 threadIdx{}, blockIdx{};
dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

enum class State { ready, at_barrier, in_warp, left };

struct Thread {
  Fiber fiber;
  int number = 0;
  State state = State::ready;
  Where where;
  unsigned mask = 0;       // in_warp: who is to meet
  Meeting meet = nullptr;  // and for what
  void* mine = nullptr;
  AsyncCopies copies;
  LateWork products;
  bool products_begun = false, unpublished = false;
};

std::string at_text(const Where& where) {
  const std::string file = where.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

std::string name_of(const Thread& t) {
  const unsigned n = static_cast<unsigned>(t.number), row = n / blockDim.x;
  return "thread (" + std::to_string(n % blockDim.x) + ", " + std::to_string(row % blockDim.y) + ", " +
         std::to_string(row / blockDim.y) + ") of block (" + std::to_string(blockIdx.x) + ", " +
         std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ")";
}

/// One block at a time; the threads' stacks are kept for the next.
class Block {
 public:
  void run(const Grid& grid, std::mt19937_64& random, const std::function<void()>& kernel) {
    prepare(grid, kernel);
    random_ = &random;
    std::vector<std::size_t> warps((count_ + 31) / 32);
    std::iota(warps.begin(), warps.end(), std::size_t{0});
    while (left_ < count_) {
      std::shuffle(warps.begin(), warps.end(), random);
      bool moved = false;
      for (const std::size_t warp : warps) {
        // As far as barriers let it go, or only to where its lanes next wait: who needs a barrier must have one.
        const bool ahead = random() % 2 == 0;
        for (bool moves = true; moves;) {
          moves = run_lanes(warp * 32, random);
          moved |= moves;
          moves &= ahead;
        }
      }
      if (!moved) throw std::runtime_error("threads wait for each other: " + waiting_text());
    }
    for (std::size_t i = 0; i < kSlack; ++i) {
      if (shared_[shared_bytes_ + i] != std::byte{0xFF})
        throw std::runtime_error("a block wrote past its shared memory");
    }
  }

  Thread& current() { return *current_; }
  void begin_copy(const AsyncCopy& copy) { current_->copies.begin(copy, (*random_)() % 2 == 0); }

  void begin_product(std::function<void()> work, const Where& where) {
    if (!current_->products_begun) refuse("begins a product without wgmma.fence", where);
    if (unpublished_seen_) refuse("begins a product of what was copied without fence.proxy.async", where);
    current_->products.begin(std::move(work), (*random_)() % 2 == 0);
  }
  void wait_products(std::size_t left) {
    current_->products.wait(left);
    if (left == 0) current_->products_begun = false;
  }

  void wait(State state, const Where& where) {
    Thread& t = *current_;
    t.state = state;
    t.where = where;
    t.fiber.suspend();
  }

  int barrier(bool predicate, const Where& where) {
    if (left_ > 0) refuse("waits at a barrier that other threads have left the kernel without", where);
    if (at_barrier_ > 0 && std::strcmp(barrier_where_.file_name(), where.file_name()) == 0 &&
        barrier_where_.line() != where.line()) {
      refuse(("came to another barrier than a thread that waits at " + at_text(barrier_where_)).c_str(), where);
    }
    barrier_where_ = where;
    predicates_ += predicate;
    unpublished_ |= current_->unpublished;
    if (++at_barrier_ < count_) {
      wait(State::at_barrier, where);
      return barrier_result_;
    }
    // Nobody reaches the next barrier's end before all have read this result.
    barrier_result_ = std::exchange(predicates_, 0);
    at_barrier_ = 0;
    unpublished_seen_ = std::exchange(unpublished_, false);
    for (std::size_t i = 0; i < count_; ++i) {
      if (threads_[i]->state == State::at_barrier) threads_[i]->state = State::ready;
    }
    return barrier_result_;
  }

  void meet(unsigned mask, Meeting meeting, void* mine, const Where& where) {
    Thread& t = *current_;
    const std::size_t base = static_cast<std::size_t>(t.number) / 32 * 32;
    if ((mask >> (t.number % 32) & 1u) == 0) refuse("calls an operation of a warp whose mask lacks it", where);
    t.mask = mask;
    t.meet = meeting;
    t.mine = mine;
    t.state = State::in_warp;
    t.where = where;
    if (!meet_if_complete(base, t)) t.fiber.suspend();  // who comes last wakes this thread
  }

  unsigned alive() const {
    const std::size_t base = static_cast<std::size_t>(current_->number) / 32 * 32;
    unsigned out = 0;
    for (std::size_t i = 0; i < 32 && base + i < count_; ++i) {
      if (threads_[base + i]->state != State::left) out |= 1u << i;
    }
    return out;
  }

  [[noreturn]] void refuse(const char* what, const Where& where) const {
    throw std::runtime_error(name_of(*current_) + " at " + at_text(where) + " " + what);
  }

  std::byte* shared() const { return shared_.get(); }
  std::size_t shared_bytes() const { return shared_bytes_; }

 private:
  static constexpr std::size_t kSlack = 128;  // behind shared memory, to see what is written there

  /// Each lane that can goes on until it has to wait; whether any could.
  bool run_lanes(std::size_t first, std::mt19937_64& random) {
    const std::size_t start = random() % 32, step = random() % 16 * 2 + 1;  // an order of all 32
    bool moved = false;
    for (std::size_t i = 0; i < 32; ++i) {
      const std::size_t n = first + (start + i * step) % 32;
      if (n >= count_ || threads_[n]->state != State::ready) continue;
      moved = true;
      current_ = threads_[n].get();
      const auto number = static_cast<unsigned>(n), row = number / blockDim.x;
      threadIdx = {number % blockDim.x, row % blockDim.y, row / blockDim.y};
      current_->fiber.resume();
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }
    return moved;
  }

  void prepare(const Grid& grid, const std::function<void()>& kernel) {
    kernel_ = &kernel;
    count_ = std::size_t{grid.threads.x} * grid.threads.y * grid.threads.z;
    left_ = at_barrier_ = 0;
    predicates_ = 0;
    unpublished_ = unpublished_seen_ = false;
    while (threads_.size() < count_) threads_.push_back(std::make_unique<Thread>());
    for (std::size_t i = 0; i < count_; ++i) {
      Thread& t = *threads_[i];
      t.number = static_cast<int>(i);
      t.state = State::ready;
      t.copies.clear();
      t.products = {};
      t.products_begun = t.unpublished = false;
      t.fiber.prepare(&Block::body, this);
    }
    // Allocated afresh, so that the address sanitizer sees what lies past its end; at a multiple of 1024 bytes, as
    // kernels may ask for.
    shared_bytes_ = grid.shared_bytes;
    const std::size_t bytes = (shared_bytes_ + kSlack + 1023) / 1024 * 1024;
    shared_.reset(static_cast<std::byte*>(std::aligned_alloc(1024, bytes)));
    std::memset(shared_.get(), 0xFF, bytes);
  }

  /// Lets the lanes that `one` of them waits for meet, where all have come.
  bool meet_if_complete(std::size_t base, const Thread& one) {
    void* lanes[32] = {};
    unsigned here = 0;
    for (std::size_t i = 0; i < 32 && base + i < count_; ++i) {
      const Thread& other = *threads_[base + i];
      if ((one.mask >> i & 1u) == 0 || other.state == State::left) continue;
      if (other.state != State::in_warp) return false;
      if (other.mask != one.mask || other.meet != one.meet) {
        refuse(("meets a lane that does something else at " + at_text(other.where)).c_str(), one.where);
      }
      lanes[i] = other.mine;
      here |= 1u << i;
    }
    one.meet(lanes, here);
    for (std::size_t i = 0; i < 32; ++i) {
      if (here >> i & 1u) threads_[base + i]->state = State::ready;
    }
    return true;
  }

  static void body(void* self) { static_cast<Block*>(self)->run_current(); }
  void run_current() {
    try {
      (*kernel_)();
      Thread& t = *current_;
      t.copies.complete_all();
      if (!t.products.empty()) throw std::runtime_error(name_of(t) + " left the kernel with products under way");
      t.state = State::left;
      ++left_;
      if (at_barrier_ > 0) {
        throw std::runtime_error(name_of(t) + " left the kernel while others wait at a barrier at " +
                                 at_text(barrier_where_));
      }
      release_warp(t);
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  /// Lanes that waited for this one only meet without it.
  void release_warp(const Thread& gone) {
    const std::size_t base = static_cast<std::size_t>(gone.number) / 32 * 32;
    for (std::size_t i = 0; i < 32 && base + i < count_; ++i) {
      const Thread& t = *threads_[base + i];
      if (t.state == State::in_warp && (t.mask >> (gone.number % 32) & 1u) != 0) meet_if_complete(base, t);
    }
  }

  std::string waiting_text() const {
    std::string out;
    for (std::size_t i = 0, named = 0; i < count_ && named < 4; ++i) {
      const Thread& t = *threads_[i];
      if (t.state != State::at_barrier && t.state != State::in_warp) continue;
      out += (named++ > 0 ? "; " : "") + name_of(t) +
             (t.state == State::at_barrier ? " at the barrier " : " in its warp at ") + at_text(t.where);
    }
    return out;
  }

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  const std::function<void()>* kernel_ = nullptr;
  std::mt19937_64* random_ = nullptr;
  std::unique_ptr<std::byte[], Free> shared_;
  std::size_t shared_bytes_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::size_t count_ = 0, left_ = 0, at_barrier_ = 0;
  Thread* current_ = nullptr;
  std::exception_ptr error_;
  Where barrier_where_;
  int predicates_ = 0, barrier_result_ = 0;
  bool unpublished_ = false;       // some thread came to this barrier with copies that it has not published
  bool unpublished_seen_ = false;  // the same of the last barrier that all have passed
};

Block& block() {
  static Block instance;
  return instance;
}

}  // namespace

void run_grid(const Grid& grid, std::uint64_t seed, const std::function<void()>& kernel) {
  std::mt19937_64 random(seed);
  gridDim = grid.blocks;
  blockDim = grid.threads;
  std::vector<std::size_t> order(std::size_t{gridDim.x} * gridDim.y * gridDim.z);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), random);
  for (const std::size_t n : order) {
    blockIdx = {static_cast<unsigned>(n % gridDim.x), static_cast<unsigned>(n / gridDim.x % gridDim.y),
                static_cast<unsigned>(n / gridDim.x / gridDim.y)};
    block().run(grid, random, kernel);
  }
}

void* dynamic_shared() { return block().shared(); }
std::size_t dynamic_shared_bytes() { return block().shared_bytes(); }
int barrier(bool predicate, Where where) { return block().barrier(predicate, where); }
void meet_warp(unsigned mask, Meeting meet, void* mine, Where where) { block().meet(mask, meet, mine, where); }
int lane() { return block().current().number % 32; }
unsigned lanes_alive() { return block().alive(); }
void refuse(const char* what, Where where) { block().refuse(what, where); }

void copy_async(void* shared, const void* global, int bytes, int taken, Where where) {
  const auto multiple = [bytes](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % unsigned(bytes) == 0; };
  if (bytes != 4 && bytes != 8 && bytes != 16) refuse("copies a size that cp.async has not", where);
  if (!multiple(shared) || (taken > 0 && !multiple(global))) refuse("copies from or to an unaligned address", where);
  block().begin_copy({shared, global, bytes, taken});
}
void commit_async() { block().current().copies.commit(); }
void wait_async(int left) {
  block().current().copies.wait(static_cast<std::size_t>(left));
  block().current().unpublished = true;
}

std::uint32_t shared_address(const void* shared) {
  return kSharedBegin + static_cast<std::uint32_t>(static_cast<const std::byte*>(shared) - block().shared());
}
void begin_product(std::function<void()> work, Where where) { block().begin_product(std::move(work), where); }
void begin_products() { block().current().products_begun = true; }
void commit_products() { block().current().products.commit(); }
void wait_products(int left) { block().wait_products(static_cast<std::size_t>(left)); }
void publish_shared() { block().current().unpublished = false; }

}  // namespace cuda_emulation
