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
};

/// All of a warp's d [16, 8] += a [16, k] b [k, 8].
template <int k>
void multiply_add(void* const (&lanes)[32], const float (&a)[16][k], const float (&b)[k][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    float* const d = static_cast<const Fragments*>(lanes[lane])->d;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      // The order of the sums inside is the machine's own: in double here.
      double sum = d[i];
      for (int n = 0; n < k; ++n) sum += static_cast<double>(a[row][n]) * b[n][column];
      d[i] = static_cast<float>(sum);
    }
  }
}

void need_all(bool& all, unsigned here) { all = here == 0xFFFFFFFFu; }

struct Call {
  Fragments fragments;
  bool all = false;
};

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
  Call mine{{d, a, b}};
  meet_warp(
      0xFFFFFFFFu,
      [](void* const(&lanes)[32], unsigned here) {
        for (int lane = 0; lane < 32; ++lane) {
          if (lanes[lane] != nullptr) need_all(static_cast<Call*>(lanes[lane])->all, here);
        }
        if (here != 0xFFFFFFFFu) return;
        float left[16][16], right[16][8];
        for (int lane = 0; lane < 32; ++lane) {
          const auto& f = *static_cast<const Fragments*>(lanes[lane]);
          const int g = lane / 4, q = lane % 4;
          for (int half = 0; half < 2; ++half) {
            left[g][2 * q + half] = of_bf16(f.a[0], half);
            left[g + 8][2 * q + half] = of_bf16(f.a[1], half);
            left[g][2 * q + 8 + half] = of_bf16(f.a[2], half);
            left[g + 8][2 * q + 8 + half] = of_bf16(f.a[3], half);
            right[2 * q + half][g] = of_bf16(f.b[0], half);
            right[2 * q + 8 + half][g] = of_bf16(f.b[1], half);
          }
        }
        multiply_add<16>(lanes, left, right);
      },
      &mine, where);
  if (!mine.all) refuse("multiplies with tensor cores in a warp that is not whole", where);
}

void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
  Call mine{{d, a, b}};
  meet_warp(
      0xFFFFFFFFu,
      [](void* const(&lanes)[32], unsigned here) {
        for (int lane = 0; lane < 32; ++lane) {
          if (lanes[lane] != nullptr) need_all(static_cast<Call*>(lanes[lane])->all, here);
        }
        if (here != 0xFFFFFFFFu) return;
        float left[16][8], right[8][8];
        for (int lane = 0; lane < 32; ++lane) {
          const auto& f = *static_cast<const Fragments*>(lanes[lane]);
          const int g = lane / 4, q = lane % 4;
          left[g][q] = of_tf32(f.a[0]);
          left[g + 8][q] = of_tf32(f.a[1]);
          left[g][q + 4] = of_tf32(f.a[2]);
          left[g + 8][q + 4] = of_tf32(f.a[3]);
          right[q][g] = of_tf32(f.b[0]);
          right[q + 4][g] = of_tf32(f.b[1]);
        }
        multiply_add<8>(lanes, left, right);
      },
      &mine, where);
  if (!mine.all) refuse("multiplies with tensor cores in a warp that is not whole", where);
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
