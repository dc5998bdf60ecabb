#include "bertx/sparse/isa.h"

#include <atomic>
#include <cassert>
#include <cstdlib>
#include <string>

#include "bertx/error.h"

namespace bertx::sparse {
namespace {

constexpr std::string_view kBf16Name = "avx512_bf16";

struct Choice {
  Isa isa;
  bool bf16_dot;
};

constexpr int kUndecided = -1;
std::atomic<int> forced{kUndecided};  // 2 * isa + bf16_dot

std::string_view name_of(Choice choice) { return choice.bf16_dot ? kBf16Name : isa_name(choice.isa); }

Choice checked(Choice choice, std::string_view who) {
  if (choice.isa > detected_isa() || (choice.bf16_dot && !detected_bf16_dot())) {
    fail(ErrorKind::usage, who, " asks for the instruction set ", name_of(choice), ", but this processor's best is ",
         name_of({detected_isa(), detected_bf16_dot()}));
  }
  return choice;
}

Choice choice_from_environment() {
  const char* const value = std::getenv("BERTX_ISA");
  if (value == nullptr || *value == '\0') return {detected_isa(), detected_bf16_dot()};
  if (kBf16Name == value) return checked({Isa::avx512, true}, "BERTX_ISA");
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa_name(isa) == value) return checked({isa, false}, "BERTX_ISA");
  }
  fail(ErrorKind::usage, "BERTX_ISA is \"", value, "\", expected portable, avx2, avx512 or ", kBf16Name);
}

Choice active() {
  if (const int code = forced.load(std::memory_order_relaxed); code != kUndecided) {
    return {static_cast<Isa>(code / 2), code % 2 != 0};
  }
  static const Choice chosen = choice_from_environment();
  return chosen;
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

bool detected_bf16_dot() {
#if defined(__x86_64__)
  static const bool found = detected_isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
  return found;
#else
  return false;
#endif
}

Isa active_isa() { return active().isa; }
bool active_bf16_dot() { return active().bf16_dot; }

void force_isa(Isa isa) { force_isa(isa, isa == Isa::avx512 && detected_bf16_dot()); }

void force_isa(Isa isa, bool bf16_dot) {
  const Choice choice = checked({isa, bf16_dot}, "force_isa");
  assert(!bf16_dot || isa == Isa::avx512);
  forced.store(2 * static_cast<int>(choice.isa) + choice.bf16_dot, std::memory_order_relaxed);
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "unknown";
}

std::string_view detected_isa_name() { return name_of({detected_isa(), detected_bf16_dot()}); }
std::string_view active_isa_name() { return name_of(active()); }

}  // namespace bertx::sparse
