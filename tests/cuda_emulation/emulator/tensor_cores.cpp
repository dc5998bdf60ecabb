#include "tensor_cores.h"

#include <bit>
#include <cstring>

namespace cuda_emulation {
namespace {

float of_bf16(std::uint32_t halves, int i) {
  return std::bit_cast<float>((i == 0 ? halves << 16 : halves & 0xFFFF0000u));
}
float of_tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xFFFFE000u); }

struct Fragments {
  float* d;
  const std::uint32_t *a, *b;
  bool whole = false;  ///< all 32 lanes took part
};

/// Where the elements of a [16, 16] and b [16, 8] lie in the registers of lane 4g + q.
struct Bf16Product {
  static constexpr int k = 16;
  static void gather(const Fragments& f, int g, int q, float (&a)[16][k], float (&b)[k][8]) {
    for (int half = 0; half < 2; ++half) {
      a[g][2 * q + half] = of_bf16(f.a[0], half);
      a[g + 8][2 * q + half] = of_bf16(f.a[1], half);
      a[g][2 * q + 8 + half] = of_bf16(f.a[2], half);
      a[g + 8][2 * q + 8 + half] = of_bf16(f.a[3], half);
      b[2 * q + half][g] = of_bf16(f.b[0], half);
      b[2 * q + 8 + half][g] = of_bf16(f.b[1], half);
    }
  }
};
/// The same of a [16, 8] and b [8, 8].
struct Tf32Product {
  static constexpr int k = 8;
  static void gather(const Fragments& f, int g, int q, float (&a)[16][k], float (&b)[k][8]) {
    a[g][q] = of_tf32(f.a[0]);
    a[g + 8][q] = of_tf32(f.a[1]);
    a[g][q + 4] = of_tf32(f.a[2]);
    a[g + 8][q + 4] = of_tf32(f.a[3]);
    b[q][g] = of_tf32(f.b[0]);
    b[q + 4][g] = of_tf32(f.b[1]);
  }
};

template <class Product>
void multiply_add(void* const (&lanes)[32], unsigned here) {
  if (here != 0xFFFFFFFFu) return;
  constexpr int k = Product::k;
  float a[16][k], b[k][8];
  for (int lane = 0; lane < 32; ++lane) {
    Product::gather(*static_cast<const Fragments*>(lanes[lane]), lane / 4, lane % 4, a, b);
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto& f = *static_cast<Fragments*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      // The order of the sums inside is the machine's own: in double here.
      double sum = f.d[i];
      for (int n = 0; n < k; ++n) sum += static_cast<double>(a[row][n]) * b[n][column];
      f.d[i] = static_cast<float>(sum);
    }
    f.whole = true;
  }
}

template <class Product>
void multiply(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
  Fragments mine{d, a, b};
  meet_warp(0xFFFFFFFFu, multiply_add<Product>, &mine, where);
  if (!mine.whole) refuse("multiplies with tensor cores in a warp that is not whole", where);
}

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
  multiply<Bf16Product>(d, a, b, where);
}

void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
  multiply<Tf32Product>(d, a, b, where);
}

void mma_sp_m16n8k32_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[4], std::uint32_t places,
                          int selector, Where where) {
  struct Lane {
    float* d;
    const std::uint32_t *a, *b;
    std::uint32_t places;
    int selector;
    bool whole, ordered;
  } mine{d, a, b, places, selector, false, true};
  meet_warp(
      0xFFFFFFFFu,
      [](void* const(&lanes)[32], unsigned here) {
        if (here != 0xFFFFFFFFu) return;
        const auto lane = [&](int i) -> Lane& { return *static_cast<Lane*>(lanes[i]); };
        float whole_a[16][32] = {}, whole_b[32][8];
        bool ordered = true;
        for (int i = 0; i < 32; ++i) {
          const int g = i / 4, q = i % 4;
          for (int r = 0; r < 4; ++r) {
            for (int half = 0; half < 2; ++half) {
              whole_b[8 * r + 2 * q + half][g] = of_bf16(lane(i).b[r], half);
              // Kept number 2q + half of the first eight (r < 2) or the last: of four columns number q, or 4 + q.
              const int row = g + r % 2 * 8, four = q + r / 2 * 4;
              const int from = 4 * g + 2 * lane(i).selector + four / 4;
              const std::uint32_t bits = lane(from).places >> (r % 2 * 16 + four % 4 * 4) & 0xFu;
              const std::uint32_t first = bits & 3u, second = bits >> 2;
              ordered = ordered && first < second;
              whole_a[row][4 * four + static_cast<int>(half == 0 ? first : second)] = of_bf16(lane(i).a[r], half);
            }
          }
        }
        for (int i = 0; i < 32; ++i) {
          for (int e = 0; e < 4; ++e) {
            double sum = lane(i).d[e];
            for (int n = 0; n < 32; ++n) {
              sum += static_cast<double>(whole_a[i / 4 + e / 2 * 8][n]) * whole_b[n][i % 4 * 2 + e % 2];
            }
            lane(i).d[e] = static_cast<float>(sum);
          }
          lane(i).whole = true;
          lane(i).ordered = ordered;
        }
      },
      &mine, where);
  if (!mine.whole) refuse("multiplies with tensor cores in a warp that is not whole", where);
  if (!mine.ordered) refuse("multiplies a structured matrix whose places do not ascend", where);
}

namespace {

struct Descriptor {
  std::uint32_t address, leading, stride;

  explicit Descriptor(std::uint64_t bits)
      : address(static_cast<std::uint32_t>(bits & 0x3FFFu) << 4),
        leading(static_cast<std::uint32_t>(bits >> 16 & 0x3FFFu) << 4),
        stride(static_cast<std::uint32_t>(bits >> 32 & 0x3FFFu) << 4) {}
};

float shared_bf16(std::uint32_t address, const Where& where) {
  const std::uint32_t turned = address ^ (address >> 7 & 7u) << 4, at = turned - kSharedBegin;
  if (turned < kSharedBegin || at + 2 > dynamic_shared_bytes()) refuse("multiplies what is not shared memory", where);
  std::uint16_t bits = 0;
  std::memcpy(&bits, static_cast<const std::byte*>(dynamic_shared()) + at, sizeof bits);
  return of_bf16(bits, 0);
}

}  // namespace

void wgmma_m64n128k16_bf16(float (&d)[64], std::uint64_t a, std::uint64_t b, Where where) {
  if (a >> 62 != 1 || b >> 62 != 1) refuse("multiplies a layout that is not played here", where);
  struct Lane {
    std::uint64_t a, b;
    bool same = false;
  } mine{a, b};
  meet_warp(
      0xFFFFFFFFu,
      [](void* const(&lanes)[32], unsigned here) {
        bool same = here == 0xFFFFFFFFu;
        for (int i = 0; same && i < 32; ++i) {
          same = static_cast<Lane*>(lanes[i])->a == static_cast<Lane*>(lanes[0])->a &&
                 static_cast<Lane*>(lanes[i])->b == static_cast<Lane*>(lanes[0])->b;
        }
        for (void* one : lanes) {
          if (one != nullptr) static_cast<Lane*>(one)->same = same;
        }
      },
      &mine, where);
  if (!mine.same) refuse("multiplies with a warpgroup whose lanes do not agree", where);
  const int warp = static_cast<int>(threadIdx.x) / 32 % 4, g = lane() / 4, q = lane() % 4;
  begin_product(
      [d = &d, a, b, warp, g, q, where] {
        const Descriptor left(a), right(b);
        for (std::uint32_t k = 0; k < 16; ++k) {
          float rows[2];
          for (std::uint32_t half = 0; half < 2; ++half) {
            const auto row = static_cast<std::uint32_t>(16 * warp + g) + 8 * half;
            rows[half] = shared_bf16(left.address + row / 8 * left.stride + row % 8 * 128 + 2 * k, where);
          }
          for (int i = 0; i < 64; i += 4) {
            for (int e = 0; e < 2; ++e) {
              const auto column = static_cast<std::uint32_t>(2 * i + 2 * q + e);
              const float x = shared_bf16(
                  right.address + column / 64 * right.leading + k / 8 * right.stride + k % 8 * 128 + column % 64 * 2,
                  where);
              (*d)[i + e] += rows[0] * x;
              (*d)[i + 2 + e] += rows[1] * x;
            }
          }
        }
      },
      where);
}

void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, bool transposed, Where where) {
  struct Load {
    std::uint32_t* r;
    const void* row;
    bool transposed, all;
  } mine{r, row, transposed, false};
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) refuse("loads a matrix row from an unaligned address", where);
  meet_warp(
      0xFFFFFFFFu,
      [](void* const(&lanes)[32], unsigned here) {
        if (here != 0xFFFFFFFFu) return;
        std::uint16_t matrix[4][8][8];
        for (int lane = 0; lane < 32; ++lane) {
          std::memcpy(matrix[lane / 8][lane % 8], static_cast<const Load*>(lanes[lane])->row, 16);
        }
        for (int lane = 0; lane < 32; ++lane) {
          Load& load = *static_cast<Load*>(lanes[lane]);
          const int g = lane / 4, q = lane % 4;
          for (int m = 0; m < 4; ++m) {
            const std::uint32_t low = load.transposed ? matrix[m][2 * q][g] : matrix[m][g][2 * q];
            const std::uint32_t high = load.transposed ? matrix[m][2 * q + 1][g] : matrix[m][g][2 * q + 1];
            load.r[m] = low | high << 16;
          }
          load.all = true;
        }
      },
      &mine, where);
  if (!mine.all) refuse("loads a matrix in a warp that is not whole", where);
}

}  // namespace cuda_emulation
