// What all kernels share: element types, packs of them, and the difference between GPU and host.
// NVRTC compiles this for a GPU without any header of CUDA; the host's compiler takes it together
// with host_launch.h, so that the same index arithmetic can be run and tested on a CPU.
#pragma once

#ifdef __CUDACC_RTC__
#define DEVICE static __device__ __forceinline__
#define GRID_ENTRY(NAME)
#else
#include "host_launch.h"
#define DEVICE static inline
#endif

#define KERNEL extern "C" __global__ void

using Offset = unsigned long long;  // of elements: a batch of feature maps may pass 2^32
using Item = unsigned int;          // of work items, which the launch plan keeps below 2^31

constexpr int kWidestLoad = 16;  // bytes: the widest access of one thread on every SM up to 90

DEVICE constexpr int pack_alignment(int bytes) { return bytes < kWidestLoad ? bytes : kWidestLoad; }

// N neighbouring elements, moved by as few instructions as their alignment allows.
template <typename T, int N>
struct alignas(pack_alignment(N * sizeof(T))) Pack {
  T values[N];
};

template <int N, typename T>
DEVICE Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, typename T>
DEVICE void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

struct Half {
  unsigned short bits;
};

struct Bfloat16 {
  unsigned short bits;
};

template <typename T>
constexpr bool is_quantized = false;
template <>
constexpr bool is_quantized<signed char> = true;

#ifdef __CUDACC_RTC__
DEVICE float from_bits(int bits) { return __int_as_float(bits); }
DEVICE int to_bits(float value) { return __float_as_int(value); }
DEVICE float nearest_even(float value) { return rintf(value); }

DEVICE float to_float(Half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}

DEVICE void convert(float value, Half& result) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
}
#else
DEVICE float to_float(Half value) { return half_to_float(value.bits); }
DEVICE void convert(float value, Half& result) { result.bits = float_to_half(value); }
#endif

DEVICE float to_float(float value) { return value; }
DEVICE float to_float(signed char value) { return value; }
DEVICE float to_float(Bfloat16 value) { return from_bits(static_cast<int>(value.bits) << 16); }

DEVICE void convert(float value, float& result) { result = value; }

DEVICE void convert(float value, signed char& result) {
  const float rounded = nearest_even(value);
  result = static_cast<signed char>(rounded < -128.f ? -128.f : rounded > 127.f ? 127.f : rounded);
}

// Arithmetic on bits: SM 75 has no instruction for it.
DEVICE void convert(float value, Bfloat16& result) {
  const unsigned bits = static_cast<unsigned>(to_bits(value));
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const unsigned half_up = 0x7fffu + ((bits >> 16) & 1u);  // ties go to the even neighbour
  result.bits = static_cast<unsigned short>(is_nan ? 0x7fc0u : (bits + half_up) >> 16);
}

DEVICE Item this_item() { return blockIdx.x * blockDim.x + threadIdx.x; }
