// BlurPool2d: [1, 2, 1] x [1, 2, 1] / 16 over a map reflected by one pixel, stride 2, fused with
// the leaky ReLU before it (slope 1 leaves that out). One thread makes V neighbouring outputs: of a
// row in NCHW, of a pixel's channels in NHWC. Sums are in float32 and rounded once.
//
// Arguments: x, filter (always the binomial one, so never read; it is an input of the operator),
// integers, y. Floats travel as the bits of an integer, since TensorRT passes integers only.
// `ratio` is scale of x / scale of y of INT8 maps, whose values are clamped; floats ignore it.
#include "portable.cuh"

DEVICE int reflected(int at, int size) {
  at = at < 0 ? -at : at;
  return at < size ? at : 2 * (size - 1) - at;
}

template <typename T>
DEVICE float activated(T element, float slope) {
  const float value = to_float(element);
  return value > 0.f ? value : value * slope;
}

template <typename T>
DEVICE T finished(float sum, float ratio) {
  T result;
  const float mean = sum * 0.0625f;
  convert(is_quantized<T> ? mean * ratio : mean, result);
  return result;
}

// Columns 2 * first - 1 ... 2 * first + 2 * V - 1 of a row, activated; for V > 1 the width is a
// multiple of 2 * V, so only the first of them can lie outside.
template <typename T, int V>
DEVICE void read_columns(const T* row, int first, int width, float slope, float* columns) {
  columns[0] = activated(row[reflected(2 * first - 1, width)], slope);
  if constexpr (V == 1) {
    columns[1] = activated(row[2 * first], slope);
    columns[2] = activated(row[reflected(2 * first + 1, width)], slope);
  } else {
    const Pack<T, 2 * V> pack = load<2 * V>(row + 2 * first);
    for (int at = 0; at < 2 * V; ++at) columns[at + 1] = activated(pack.values[at], slope);
  }
}

template <typename T, int V>
DEVICE void blur_nchw(const T* x, int items, int height, int width, int slope_bits, int ratio_bits,
                      T* y) {
  const Item item = this_item();
  if (item >= static_cast<Item>(items)) return;
  const float slope = from_bits(slope_bits), ratio = from_bits(ratio_bits);
  const Item out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  const Item packs = out_width / V;
  const int first = static_cast<int>(item % packs) * V;
  const Item row = item / packs;  // counted over all planes
  const int out_row = static_cast<int>(row % out_height);
  const T* plane = x + static_cast<Offset>(row / out_height) * height * width;

  float sums[V] = {};
  for (int tap = 0; tap < 3; ++tap) {
    const Offset line = reflected(2 * out_row - 1 + tap, height);
    float columns[2 * V + 1];
    read_columns<T, V>(plane + line * width, first, width, slope, columns);
    const float weight = tap == 1 ? 2.f : 1.f;
    for (int at = 0; at < V; ++at)
      sums[at] += weight * (columns[2 * at] + 2.f * columns[2 * at + 1] + columns[2 * at + 2]);
  }
  Pack<T, V> pack;
  for (int at = 0; at < V; ++at) pack.values[at] = finished<T>(sums[at], ratio);
  store<V>(y + static_cast<Offset>(row) * out_width + first, pack);
}

// `pitch`: elements from one pixel to the next, the channels and what pads them; a multiple of V.
template <typename T, int V>
DEVICE void blur_nhwc(const T* x, int items, int height, int width, int pitch, int slope_bits,
                      int ratio_bits, T* y) {
  const Item item = this_item();
  if (item >= static_cast<Item>(items)) return;
  const float slope = from_bits(slope_bits), ratio = from_bits(ratio_bits);
  const Item out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  const Item packs = pitch / V;
  const int channel = static_cast<int>(item % packs) * V;
  const Item pixel = item / packs;  // counted over all images
  const int out_column = static_cast<int>(pixel % out_width);
  const int out_row = static_cast<int>(pixel / out_width % out_height);
  const Offset image = pixel / out_width / out_height;

  float sums[V] = {};
  for (int tap = 0; tap < 9; ++tap) {
    const int line = reflected(2 * out_row - 1 + tap / 3, height);
    const int column = reflected(2 * out_column - 1 + tap % 3, width);
    const float weight = (tap / 3 == 1 ? 2.f : 1.f) * (tap % 3 == 1 ? 2.f : 1.f);
    const Offset at_pixel = ((image * height + line) * width + column) * pitch;
    const Pack<T, V> pack = load<V>(x + at_pixel + channel);
    for (int at = 0; at < V; ++at) sums[at] += weight * activated(pack.values[at], slope);
  }
  Pack<T, V> pack;
  for (int at = 0; at < V; ++at) pack.values[at] = finished<T>(sums[at], ratio);
  store<V>(y + static_cast<Offset>(pixel) * pitch + channel, pack);
}

// The two outputs at most that read position `at` of a line, and with which weights.
struct Readers {
  int first;
  float weights[2];
};

DEVICE Readers readers_of(int at, int size) {
  Readers readers = {at / 2, {2.f, 0.f}};
  if (at % 2 == 0) return readers;
  const bool second = readers.first + 1 < (size + 1) / 2;
  readers.weights[0] = at == 1 ? 2.f : 1.f;  // output 0 reads it again, reflected before the line
  readers.weights[1] = !second ? 0.f : at == size - 2 ? 2.f : 1.f;  // and the last one behind it
  return readers;
}

// Gradient of x. `x` is what the leaky ReLU read, null without one; channels are only told apart in
// NHWC, where they are the innermost axis.
template <typename T, bool Nhwc>
DEVICE void blur_backward(const T* gradient, const T* x, int items, int channels, int height,
                          int width, int slope_bits, T* result) {
  const Item item = this_item();
  if (item >= static_cast<Item>(items)) return;
  const Item inner = Nhwc ? channels : 1;
  const Item channel = item % inner;
  const Item pixel = item / inner;
  const Readers rows = readers_of(static_cast<int>(pixel / width % height), height);
  const Readers columns = readers_of(static_cast<int>(pixel % width), width);
  const Offset plane = pixel / width / height;
  const int out_height = (height + 1) / 2, out_width = (width + 1) / 2;

  float sum = 0.f;
  for (int row = 0; row < 2; ++row)
    for (int column = 0; column < 2; ++column) {
      const float weight = rows.weights[row] * columns.weights[column];
      if (weight == 0.f) continue;  // that output may not exist
      const Offset line = plane * out_height + rows.first + row;
      const Offset at = (line * out_width + columns.first + column) * inner + channel;
      sum += weight * to_float(gradient[at]);
    }
  const float slope = from_bits(slope_bits);
  if (x != nullptr && !(to_float(x[item]) > 0.f)) sum *= slope;
  result[item] = finished<T>(sum, 1.f);
}

#define BLUR_NCHW(NAME, T, V)                                                               \
  KERNEL NAME(const T* __restrict__ x, const T* __restrict__, int items, int height,        \
              int width, int slope_bits, int ratio_bits, T* __restrict__ y) {               \
    blur_nchw<T, V>(x, items, height, width, slope_bits, ratio_bits, y);                    \
  }                                                                                         \
  GRID_ENTRY(NAME)

#define BLUR_NHWC(NAME, T, V)                                                               \
  KERNEL NAME(const T* __restrict__ x, const T* __restrict__, int items, int height,        \
              int width, int pitch, int slope_bits, int ratio_bits, T* __restrict__ y) {    \
    blur_nhwc<T, V>(x, items, height, width, pitch, slope_bits, ratio_bits, y);             \
  }                                                                                         \
  GRID_ENTRY(NAME)

#define BLUR_BACKWARD(NAME, T, NHWC)                                                        \
  KERNEL NAME(const T* __restrict__ gradient, const T* __restrict__ x, int items,           \
              int channels, int height, int width, int slope_bits, T* __restrict__ y) {     \
    blur_backward<T, NHWC>(gradient, x, items, channels, height, width, slope_bits, y);     \
  }                                                                                         \
  GRID_ENTRY(NAME)

// One line a kernel.
BLUR_NCHW(blur_pool_nchw_float32_v1, float, 1)
BLUR_NCHW(blur_pool_nchw_float32_v2, float, 2)
BLUR_NCHW(blur_pool_nchw_float32_v4, float, 4)
BLUR_NCHW(blur_pool_nchw_float16_v1, Half, 1)
BLUR_NCHW(blur_pool_nchw_float16_v2, Half, 2)
BLUR_NCHW(blur_pool_nchw_float16_v4, Half, 4)
BLUR_NCHW(blur_pool_nchw_bfloat16_v1, Bfloat16, 1)
BLUR_NCHW(blur_pool_nchw_bfloat16_v2, Bfloat16, 2)
BLUR_NCHW(blur_pool_nchw_bfloat16_v4, Bfloat16, 4)
BLUR_NCHW(blur_pool_nchw_int8_v1, signed char, 1)
BLUR_NCHW(blur_pool_nchw_int8_v2, signed char, 2)
BLUR_NCHW(blur_pool_nchw_int8_v4, signed char, 4)

BLUR_NHWC(blur_pool_nhwc_float32_v1, float, 1)
BLUR_NHWC(blur_pool_nhwc_float32_v4, float, 4)
BLUR_NHWC(blur_pool_nhwc_float16_v1, Half, 1)
BLUR_NHWC(blur_pool_nhwc_float16_v8, Half, 8)
BLUR_NHWC(blur_pool_nhwc_bfloat16_v1, Bfloat16, 1)
BLUR_NHWC(blur_pool_nhwc_bfloat16_v8, Bfloat16, 8)
BLUR_NHWC(blur_pool_nhwc_int8_v1, signed char, 1)
BLUR_NHWC(blur_pool_nhwc_int8_v16, signed char, 16)

BLUR_BACKWARD(blur_pool_backward_nchw_float32, float, false)
BLUR_BACKWARD(blur_pool_backward_nchw_float16, Half, false)
BLUR_BACKWARD(blur_pool_backward_nchw_bfloat16, Bfloat16, false)
BLUR_BACKWARD(blur_pool_backward_nhwc_float32, float, true)
BLUR_BACKWARD(blur_pool_backward_nhwc_float16, Half, true)
BLUR_BACKWARD(blur_pool_backward_nhwc_bfloat16, Bfloat16, true)
