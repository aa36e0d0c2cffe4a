// SpaceToDepth and its inverse: they move elements and never look at them, so a kernel is chosen by
// the size of an element, and one piece of index arithmetic serves both directions.
//
// Image side: (N, C, H, W). Depth side: (N, B*B*C, H/B, W/B), channel (row*B + column)*C + c.
// Arguments: from, integers, to.
#include "portable.cuh"

// One thread moves B*V neighbouring pixels of an image row: V blocks. Height and width are the
// image's; W/B is a multiple of V.
template <typename T, int B, int V, bool ToDepth>
DEVICE void move_nchw(const T* from, int items, int channels, int height, int width, T* to) {
  const Item item = this_item();
  if (item >= static_cast<Item>(items)) return;
  const Item depth_width = width / B, depth_height = height / B;
  const Item packs = depth_width / V;
  const Item first = item % packs * V;  // block of the row
  const Item line = item / packs;       // image row, counted over all planes
  const Item image_row = line % height;
  const Item channel = line / height % channels;
  const Offset image = line / height / channels;
  const Offset at_image = static_cast<Offset>(line) * width + first * B;
  const Offset depth_channel = (image * B + image_row % B) * B * channels + channel;
  const Offset at_depth =
      (depth_channel * depth_height + image_row / B) * depth_width + first;
  const Offset next_column = static_cast<Offset>(channels) * depth_height * depth_width;

  if constexpr (ToDepth) {
    const Pack<T, B * V> pixels = load<B * V>(from + at_image);
    for (int column = 0; column < B; ++column) {
      Pack<T, V> blocks;
      for (int at = 0; at < V; ++at) blocks.values[at] = pixels.values[at * B + column];
      store<V>(to + at_depth + column * next_column, blocks);
    }
  } else {
    Pack<T, B * V> pixels;
    for (int column = 0; column < B; ++column) {
      const Pack<T, V> blocks = load<V>(from + at_depth + column * next_column);
      for (int at = 0; at < V; ++at) pixels.values[at * B + column] = blocks.values[at];
    }
    store<B * V>(to + at_image, pixels);
  }
}

// In NHWC the B pixels of a block's row are one run of B*C elements: runs (row, block) of the image
// become runs (block, row). One thread moves one word; `run` is in words, `block_rows` is B and
// `blocks` W/B.
template <typename Word, bool ToDepth>
DEVICE void move_nhwc(const Word* from, int items, int blocks, int block_rows, int run, Word* to) {
  const Item item = this_item();
  if (item >= static_cast<Item>(items)) return;
  const Item word = item % run;
  const Item row = item / run % block_rows;
  const Item block = item / run / block_rows % blocks;
  const Offset strip = item / run / block_rows / blocks;  // B image rows
  const Offset at_image = ((strip * block_rows + row) * blocks + block) * run + word;
  if constexpr (ToDepth)
    to[item] = from[at_image];
  else
    to[at_image] = from[item];
}

#define MOVE_NCHW(NAME, T, B, V, TO_DEPTH)                                                    \
  KERNEL NAME(const T* __restrict__ from, int items, int channels, int height, int width,     \
              T* __restrict__ to) {                                                           \
    move_nchw<T, B, V, TO_DEPTH>(from, items, channels, height, width, to);                   \
  }                                                                                           \
  GRID_ENTRY(NAME)

#define MOVE_NHWC(NAME, WORD, TO_DEPTH)                                                       \
  KERNEL NAME(const WORD* __restrict__ from, int items, int blocks, int block_rows, int run,  \
              WORD* __restrict__ to) {                                                        \
    move_nhwc<WORD, TO_DEPTH>(from, items, blocks, block_rows, run, to);                      \
  }                                                                                           \
  GRID_ENTRY(NAME)

using Byte = unsigned char;
using Short = unsigned short;
using Word4 = Pack<unsigned int, 1>;
using Word8 = Pack<unsigned int, 2>;
using Word16 = Pack<unsigned int, 4>;

// One line a kernel.
MOVE_NCHW(space_to_depth_nchw_1byte_b2_v1, Byte, 2, 1, true)
MOVE_NCHW(depth_to_space_nchw_1byte_b2_v1, Byte, 2, 1, false)
MOVE_NCHW(space_to_depth_nchw_1byte_b2_v4, Byte, 2, 4, true)
MOVE_NCHW(depth_to_space_nchw_1byte_b2_v4, Byte, 2, 4, false)
MOVE_NCHW(space_to_depth_nchw_1byte_b4_v1, Byte, 4, 1, true)
MOVE_NCHW(depth_to_space_nchw_1byte_b4_v1, Byte, 4, 1, false)
MOVE_NCHW(space_to_depth_nchw_1byte_b4_v4, Byte, 4, 4, true)
MOVE_NCHW(depth_to_space_nchw_1byte_b4_v4, Byte, 4, 4, false)
MOVE_NCHW(space_to_depth_nchw_2byte_b2_v1, Short, 2, 1, true)
MOVE_NCHW(depth_to_space_nchw_2byte_b2_v1, Short, 2, 1, false)
MOVE_NCHW(space_to_depth_nchw_2byte_b2_v4, Short, 2, 4, true)
MOVE_NCHW(depth_to_space_nchw_2byte_b2_v4, Short, 2, 4, false)
MOVE_NCHW(space_to_depth_nchw_2byte_b4_v1, Short, 4, 1, true)
MOVE_NCHW(depth_to_space_nchw_2byte_b4_v1, Short, 4, 1, false)
MOVE_NCHW(space_to_depth_nchw_2byte_b4_v4, Short, 4, 4, true)
MOVE_NCHW(depth_to_space_nchw_2byte_b4_v4, Short, 4, 4, false)
MOVE_NCHW(space_to_depth_nchw_4byte_b2_v1, unsigned int, 2, 1, true)
MOVE_NCHW(depth_to_space_nchw_4byte_b2_v1, unsigned int, 2, 1, false)
MOVE_NCHW(space_to_depth_nchw_4byte_b2_v4, unsigned int, 2, 4, true)
MOVE_NCHW(depth_to_space_nchw_4byte_b2_v4, unsigned int, 2, 4, false)
MOVE_NCHW(space_to_depth_nchw_4byte_b4_v1, unsigned int, 4, 1, true)
MOVE_NCHW(depth_to_space_nchw_4byte_b4_v1, unsigned int, 4, 1, false)
MOVE_NCHW(space_to_depth_nchw_4byte_b4_v4, unsigned int, 4, 4, true)
MOVE_NCHW(depth_to_space_nchw_4byte_b4_v4, unsigned int, 4, 4, false)

MOVE_NHWC(space_to_depth_nhwc_1byte, Byte, true)
MOVE_NHWC(depth_to_space_nhwc_1byte, Byte, false)
MOVE_NHWC(space_to_depth_nhwc_2byte, Short, true)
MOVE_NHWC(depth_to_space_nhwc_2byte, Short, false)
MOVE_NHWC(space_to_depth_nhwc_4byte, Word4, true)
MOVE_NHWC(depth_to_space_nhwc_4byte, Word4, false)
MOVE_NHWC(space_to_depth_nhwc_8byte, Word8, true)
MOVE_NHWC(depth_to_space_nhwc_8byte, Word8, false)
MOVE_NHWC(space_to_depth_nhwc_16byte, Word16, true)
MOVE_NHWC(depth_to_space_nhwc_16byte, Word16, false)
