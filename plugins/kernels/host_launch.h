// A grid of threads as two loops: what lets a C++ compiler run the kernels on a CPU.
// Kernels here share no memory and never wait for each other, so any order of threads will do.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#define __global__
#define __device__

struct Dimensions {
  unsigned x;
};

static thread_local Dimensions threadIdx, blockIdx, blockDim;

static inline float from_bits(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline int to_bits(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float nearest_even(float value) { return std::nearbyintf(value); }

// IEEE 754 binary16 by powers of two, because not every C++ compiler has the type.
static inline float half_to_float(unsigned short bits) {
  const int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  const float sign = bits & 0x8000 ? -1.f : 1.f;
  if (exponent == 0x1f) return fraction ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
}

static inline unsigned short float_to_half(float value) {
  const unsigned sign = std::signbit(value) ? 0x8000u : 0u;
  const float size = std::fabs(value);
  if (std::isnan(value)) return static_cast<unsigned short>(sign | 0x7e00u);
  if (size >= 65520.f) return static_cast<unsigned short>(sign | 0x7c00u);
  if (size == 0.f) return static_cast<unsigned short>(sign);
  int exponent = std::ilogb(size);
  if (exponent < -14) exponent = -14;  // subnormal: the spacing stays that of the smallest normal
  // In units of the last place; 0x400 and up is a normal number, and 0x800 carries by itself.
  const unsigned units = static_cast<unsigned>(std::nearbyintf(std::ldexp(size, 10 - exponent)));
  const unsigned biased = static_cast<unsigned>(exponent + 14) << 10;
  return static_cast<unsigned short>(sign | (biased + units));
}

// `arguments` point at the values, as those of cuLaunchKernel do.
template <typename... Parameters, std::size_t... Index>
static void over_grid(void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
                      void** arguments, std::index_sequence<Index...>) {
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
      kernel(*static_cast<Parameters*>(arguments[Index])...);
}

template <typename... Parameters>
static void over_grid(void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
                      void** arguments) {
  over_grid(kernel, blocks, threads, arguments, std::index_sequence_for<Parameters...>{});
}

#define GRID_ENTRY(NAME)                                                                  \
  extern "C" void NAME##_on_host(unsigned blocks, unsigned threads, void** arguments) {   \
    over_grid(NAME, blocks, threads, arguments);                                          \
  }
