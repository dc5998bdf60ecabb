#include "bertx/sparse/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "bertx/error.h"

namespace bertx::sparse {
namespace {

constexpr int kUndecided = -1;
std::atomic<int> forced{kUndecided};

Isa checked(Isa isa, std::string_view who) {
  if (isa > detected_isa()) {
    fail(ErrorKind::usage, who, " asks for the instruction set ", isa_name(isa), ", but this processor's best is ",
         isa_name(detected_isa()));
  }
  return isa;
}

Isa isa_from_environment() {
  const char* const value = std::getenv("BERTX_ISA");
  if (value == nullptr || *value == '\0') return detected_isa();
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa_name(isa) == value) return checked(isa, "BERTX_ISA");
  }
  fail(ErrorKind::usage, "BERTX_ISA is \"", value, "\", expected portable, avx2 or avx512");
}

}  // namespace

Isa detected_isa() {
#if defined(__x86_64__)
  static const Isa found = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::portable;
  }();
  return found;
#else
  return Isa::portable;
#endif
}

Isa active_isa() {
  if (const int isa = forced.load(std::memory_order_relaxed); isa != kUndecided) return static_cast<Isa>(isa);
  static const Isa chosen = isa_from_environment();
  return chosen;
}

void force_isa(Isa isa) { forced.store(static_cast<int>(checked(isa, "force_isa")), std::memory_order_relaxed); }

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "unknown";
}

}  // namespace bertx::sparse
