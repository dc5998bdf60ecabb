// CUDA's built-in vector types, aligned as on the device.
#pragma once

#define BERTX_EMULATED_VECTORS(T, name, align2, align4)              \
  struct name##1 {                                                   \
    T x;                                                             \
  };                                                                 \
  struct alignas(align2) name##2 {                                   \
    T x, y;                                                          \
  };                                                                 \
  struct name##3 {                                                   \
    T x, y, z;                                                       \
  };                                                                 \
  struct alignas(align4) name##4 {                                   \
    T x, y, z, w;                                                    \
  };                                                                 \
  inline name##1 make_##name##1(T x) { return {x}; }                 \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

BERTX_EMULATED_VECTORS(signed char, char, 2, 4)
BERTX_EMULATED_VECTORS(unsigned char, uchar, 2, 4)
BERTX_EMULATED_VECTORS(short, short, 4, 8)
BERTX_EMULATED_VECTORS(unsigned short, ushort, 4, 8)
BERTX_EMULATED_VECTORS(int, int, 8, 16)
BERTX_EMULATED_VECTORS(unsigned, uint, 8, 16)
BERTX_EMULATED_VECTORS(float, float, 8, 16)
BERTX_EMULATED_VECTORS(long long, longlong, 16, 16)
BERTX_EMULATED_VECTORS(unsigned long long, ulonglong, 16, 16)
BERTX_EMULATED_VECTORS(double, double, 16, 16)
#undef BERTX_EMULATED_VECTORS

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the thread that runs now; written by the scheduler.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;
