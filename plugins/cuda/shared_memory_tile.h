// Regions of a tensor and their copies in a block's shared memory. They are copied in 16-byte
// accesses whatever the width of the rows. The operations on tiles are in tiles.h.
#pragma once

#include "memory_access.h"

namespace segnet {

// `pieces` contiguous ranges of a tensor, each of `lines` lines of `length` elements. Piece i
// starts at first + i / inner * outer_stride + i % inner * inner_stride.
struct Region {
  int64_t first, outer_stride, inner_stride;
  int pieces, inner, lines, length;

  SEGNET_HD int64_t start(int piece) const {
    return first + piece / inner * outer_stride + piece % inner * inner_stride;
  }
  SEGNET_HD int size() const { return lines * length; }
  // Bytes of a piece in shared memory: its offset in a sector is the same as in the tensor.
  SEGNET_HD int pitch(int element) const {
    return (size() * element + 2 * (kSector - 1)) / kSector * kSector;
  }
};

// A region of `outer` groups of `lines` lines; contiguous lines and groups become one piece.
SEGNET_HD Region region(int64_t first, int outer, int64_t outer_stride, int lines,
                        int64_t line_stride, int length) {
  if (lines > 1 && length != line_stride)
    return {first, outer_stride, line_stride, outer * lines, lines, 1, length};
  if (outer > 1 && int64_t{lines} * length != outer_stride)
    return {first, outer_stride, 0, outer, 1, lines, length};
  return {first, 0, 0, 1, 1, outer * lines, length};
}

// A region of the tensor at `tensor`, and its copy in shared memory at `memory`.
template <typename T>
struct Tile {
  Region region;
  T* tensor;
  unsigned char* memory;

  SEGNET_HD int head(int piece) const {
    return static_cast<int>(reinterpret_cast<uintptr_t>(tensor + region.start(piece)) % kSector);
  }
  // Line `number` of the whole region, in shared memory.
  SEGNET_HD T* line(int number) const {
    const int piece = region.pieces == 1 ? 0 : number / region.lines;
    unsigned char* start = memory + piece * region.pitch(sizeof(T)) + head(piece);
    return reinterpret_cast<T*>(start) + (number - piece * region.lines) * region.length;
  }
  SEGNET_HD unsigned char* end() const {
    return memory + region.pieces * region.pitch(sizeof(T));
  }
};

enum class Copy { kIn, kOut };  // to shared memory, to the tensor

template <Copy kDirection, typename V>
SEGNET_HD void move(V* outside, V* inside, int step) {
  if (kDirection == Copy::kIn) {
    *inside = load(outside, step);
  } else {
    const V value = *inside;  // read as a whole, not byte by byte
    store(outside, value, step);
  }
}

// Copies one thread's share of a tile; kThreads threads copy all of it. `step` is that of the
// first access, as in load().
template <Copy kDirection, typename T>
SEGNET_HD void copy(const Tile<T>& tile, int thread, int step) {
  constexpr int kCount = kAccess / static_cast<int>(sizeof(T));
  using Vector = Run<T, kCount>;
  const Region& region = tile.region;
  const int pitch = region.pitch(sizeof(T)), vectors = pitch / kAccess;
  const int bytes = region.size() * static_cast<int>(sizeof(T));
  for (int i = thread; i < region.pieces * vectors; i += kThreads, ++step) {
    const int piece = i / vectors, at = i % vectors * kAccess, head = tile.head(piece);
    if (at < head || at + kAccess > head + bytes) continue;
    auto* outside = reinterpret_cast<Vector*>(tile.tensor + region.start(piece) +
                                              (at - head) / static_cast<int>(sizeof(T)));
    auto* inside = reinterpret_cast<Vector*>(tile.memory + piece * pitch + at);
    move<kDirection>(outside, inside, step);
  }
  // The ends of each piece, element by element: 16 threads copy those before the first whole
  // vector, 16 those after the last.
  for (int i = thread; i < region.pieces * 2 * kAccess; i += kThreads, ++step) {
    const int piece = i / (2 * kAccess), lane = i % (2 * kAccess), head = tile.head(piece);
    const int end = head + bytes, body = (head + kAccess - 1) / kAccess * kAccess;
    const int before = body < end ? body : end, last = end / kAccess * kAccess;
    const bool tail = lane >= kAccess;
    const int from = tail ? (last > before ? last : before) : head;
    const int at = from + lane % kAccess * static_cast<int>(sizeof(T));
    if (at >= (tail ? end : before)) continue;
    T* outside =
        tile.tensor + region.start(piece) + (at - head) / static_cast<int>(sizeof(T));
    T* inside = reinterpret_cast<T*>(tile.memory + piece * pitch + at);
    move<kDirection>(outside, inside, step);
  }
}

}  // namespace segnet
