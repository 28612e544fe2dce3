// Runs the CUDA kernels over a small table, in buffers of exactly their size, and compares every
// byte with a plain loop: a program for compute-sanitizer and ncu, without Python.
//
//   drive_kernels check [all|runs|pixels]                  the table, or the cases of one method
//   drive_kernels repeat KIND LAYOUT N C H W TIMES         pool and unpool, without a comparison
//
// With -DSEGNET_ON_HOST and host_loop.cpp it runs the kernels' code on the host.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if !defined(SEGNET_ON_HOST)
#include <cuda_runtime_api.h>
#endif

#include "dispatch.h"

#if defined(SEGNET_ON_HOST)
extern "C" int segnet_host_pair(int kind, int layout, const void* x, void* y, int32_t* codes,
                                void* back, int64_t n, int64_t c, int64_t h, int64_t w,
                                int ceil_mode, int processors);
#else
extern "C" int segnet_max_pool(int kind, int layout, const void* x, void* y, int32_t* codes,
                               int64_t n, int64_t c, int64_t h, int64_t w, int ceil_mode,
                               void* stream);
extern "C" int segnet_max_unpool(int kind, int layout, const void* y, const int32_t* codes,
                                 void* x, int64_t n, int64_t c, int64_t h, int64_t w,
                                 int ceil_mode, void* stream);
#endif

namespace {

using namespace segnet;

constexpr int kSizes[] = {4, 2, 2, 1};
constexpr const char* kKinds[] = {"fp32", "fp16", "bf16", "int8"};
constexpr const char* kLayouts[] = {"NCHW", "NHWC", "HWC8"};
constexpr const char* kMethods[] = {"runs", "pixels"};

void require(int status, const char* what) {
  if (status == 0) return;
  std::fprintf(stderr, "%s failed with CUDA error %d\n", what, status);
  std::exit(2);
}

// Memory of the device of exactly `size` bytes.
class Buffer {
 public:
  explicit Buffer(size_t size) : size_(size) {
#if defined(SEGNET_ON_HOST)
    data_ = std::aligned_alloc(256, (size + 256) / 256 * 256);
    std::memset(data_, 0x5A, size);  // on the GPU, initcheck reports what was not written
#else
    require(cudaMalloc(&data_, size == 0 ? 1 : size), "cudaMalloc");
#endif
  }
  ~Buffer() {
#if defined(SEGNET_ON_HOST)
    std::free(data_);
#else
    cudaFree(data_);
#endif
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void write(const std::vector<unsigned char>& from) {
#if defined(SEGNET_ON_HOST)
    std::memcpy(data_, from.data(), size_);
#else
    require(cudaMemcpy(data_, from.data(), size_, cudaMemcpyHostToDevice), "cudaMemcpy");
#endif
  }
  std::vector<unsigned char> read() const {
    std::vector<unsigned char> to(size_);
#if defined(SEGNET_ON_HOST)
    std::memcpy(to.data(), data_, size_);
#else
    require(cudaMemcpy(to.data(), data_, size_, cudaMemcpyDeviceToHost), "cudaMemcpy");
#endif
    return to;
  }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  size_t size_;
};

struct Case {
  DataKind kind;
  Layout layout;
  PoolShape s;
};

struct Sizes {
  int64_t pitch, full, pooled, words;  // channels of a pixel in memory; elements
  explicit Sizes(const Case& at)
      : pitch(at.layout == Layout::kChannelsLast8 ? (at.s.c + 7) / 8 * 8 : at.s.c),
        full(at.s.n * pitch * at.s.h * at.s.w),
        pooled(at.s.n * pitch * at.s.pooled_h() * at.s.pooled_w()),
        words(at.s.n * at.s.words() * at.s.pooled_h() * at.s.pooled_w()) {}
};

// The number of element (n, c, i, j) of a plane of h x w.
int64_t index_of(const Case& at, int64_t pitch, int64_t n, int64_t c, int64_t i, int64_t j,
                 int64_t h, int64_t w) {
  if (at.layout == Layout::kLinear) return ((n * at.s.c + c) * h + i) * w + j;
  return ((n * h + i) * w + j) * pitch + c;
}

template <typename T>
struct Expected {
  std::vector<T> y, back;
  std::vector<uint32_t> codes;
};

// The rule in plain loops. Padding is zero.
template <typename T>
Expected<T> expect(const Case& at, const std::vector<T>& x) {
  const PoolShape& s = at.s;
  const Sizes sizes(at);
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  Expected<T> found{std::vector<T>(sizes.pooled), std::vector<T>(sizes.full),
                    std::vector<uint32_t>(sizes.words)};
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t i = 0; i < ho; ++i)
        for (int64_t j = 0; j < wo; ++j) {
          const auto full = [&](int e) {
            return index_of(at, sizes.pitch, n, c, 2 * i + e / 2, 2 * j + e % 2, s.h, s.w);
          };
          int best = 0;
          for (int e = 1; e < 4; ++e)
            if (2 * i + e / 2 < s.h && 2 * j + e % 2 < s.w && wins(x[full(e)], x[full(best)]))
              best = e;
          found.y[index_of(at, sizes.pitch, n, c, i, j, ho, wo)] = x[full(best)];
          found.back[full(best)] = x[full(best)];
          const int64_t word = ((n * s.words() + c / kChannelsPerWord) * ho + i) * wo + j;
          found.codes[word] |= static_cast<uint32_t>(best) << (2 * (c % kChannelsPerWord));
        }
  return found;
}

void run(const Case& at, const Buffer& x, const Buffer& y, const Buffer& codes,
         const Buffer& back) {
  const int kind = static_cast<int>(at.kind), layout = static_cast<int>(at.layout);
  auto* words = static_cast<int32_t*>(codes.data());
#if defined(SEGNET_ON_HOST)
  require(segnet_host_pair(kind, layout, x.data(), y.data(), words, back.data(), at.s.n, at.s.c,
                           at.s.h, at.s.w, at.s.ceil_mode, 0),
          "the host loop");
#else
  require(segnet_max_pool(kind, layout, x.data(), y.data(), words, at.s.n, at.s.c, at.s.h, at.s.w,
                          at.s.ceil_mode, nullptr),
          "pool");
  require(segnet_max_unpool(kind, layout, y.data(), words, back.data(), at.s.n, at.s.c, at.s.h,
                            at.s.w, at.s.ceil_mode, nullptr),
          "unpool");
  require(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
#endif
}

template <typename T>
bool equal(const Buffer& found, const std::vector<T>& expected) {
  const std::vector<unsigned char> bytes = found.read();
  return expected.empty() || std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0;
}

// Random bits with repetitions: ties, negative numbers, NaN.
template <typename T>
std::vector<T> random_elements(const Case& at) {
  std::vector<T> x(Sizes(at).full);
  uint64_t state = 12345 + x.size();
  const PoolShape& s = at.s;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t i = 0; i < s.h; ++i)
        for (int64_t j = 0; j < s.w; ++j) {
          state = state * 6364136223846793005u + 1442695040888963407u;
          const uint32_t bits = static_cast<uint32_t>(state >> 33) * ((state >> 61) ? 1u : 0u);
          std::memcpy(&x[index_of(at, Sizes(at).pitch, n, c, i, j, s.h, s.w)], &bits, sizeof(T));
        }
  return x;
}

template <typename T>
bool check(const Case& at) {
  const Sizes sizes(at);
  const std::vector<T> x = random_elements<T>(at);
  std::vector<unsigned char> bytes(x.size() * sizeof(T));
  std::memcpy(bytes.data(), x.data(), bytes.size());
  Buffer full(bytes.size()), y(sizes.pooled * sizeof(T)), codes(sizes.words * sizeof(int32_t));
  Buffer back(bytes.size());
  full.write(bytes);
  run(at, full, y, codes, back);
  const Expected<T> expected = expect(at, x);
  return equal(y, expected.y) && equal(codes, expected.codes) && equal(back, expected.back);
}

bool check_kind(const Case& at) {
  return with_type_of(at.kind, [&](auto element) { return check<decltype(element)>(at); });
}

struct NameMethod {
  int operator()(Work) const { return -1; }
  template <typename T, int kWidth>
  int operator()(const PoolRuns<T, kWidth>&) const { return 0; }
  template <typename T, int kWidth>
  int operator()(const PoolPixels<T, kWidth>&) const { return 1; }
};

// Buffers are aligned as widely as any access, so that the sizes alone choose the method.
int method_of(const Case& at) {
  alignas(256) static unsigned char aligned[256];
  return pool(Planes{at.s, at.kind, at.layout}, aligned, aligned,
              reinterpret_cast<int32_t*>(aligned), NameMethod{});
}

constexpr PoolShape kShapes[] = {
    {1, 16, 4, 64, true},  {2, 33, 7, 96, true},  {1, 32, 5, 6, true},  {1, 64, 45, 60, true},
    {1, 1, 2, 2, true},    {2, 3, 5, 7, true},    {1, 17, 45, 3, true}, {1, 40, 9, 20, true},
    {1, 3, 5, 1500, true}, {1, 700, 3, 5, true},  {70, 1, 3, 2, true},  {1, 5000, 2, 3, true},
};

int check_table(const std::string& wanted) {
  int count[2] = {}, failed = 0;
  for (PoolShape shape : kShapes)
    for (const bool ceil_mode : {true, false})
      for (int kind = 0; kind < 4; ++kind)
        for (int layout = 0; layout < 3; ++layout) {
          shape.ceil_mode = ceil_mode;
          const Case at{DataKind(kind), Layout(layout), shape};
          const int method = method_of(at);
          if (method < 0 || (wanted != "all" && wanted != kMethods[method])) continue;
          ++count[method];
          if (check_kind(at)) continue;
          ++failed;
          std::printf("wrong: %s %s %lldx%lldx%lldx%lld %s %s\n", kKinds[kind], kLayouts[layout],
                      static_cast<long long>(shape.n), static_cast<long long>(shape.c),
                      static_cast<long long>(shape.h), static_cast<long long>(shape.w),
                      ceil_mode ? "ceil" : "floor", kMethods[method]);
        }
  std::printf("cases: %d runs, %d pixels; %d wrong\n", count[0], count[1], failed);
  return failed == 0 && count[0] + count[1] > 0 ? 0 : 1;
}

int number_of(const char* name, const char* const* names, int count) {
  for (int i = 0; i < count; ++i)
    if (std::strcmp(name, names[i]) == 0) return i;
  std::fprintf(stderr, "unknown name: %s\n", name);
  std::exit(2);
}

int repeat(char** words) {
  const Case at{DataKind(number_of(words[0], kKinds, 4)), Layout(number_of(words[1], kLayouts, 3)),
                {std::atoll(words[2]), std::atoll(words[3]), std::atoll(words[4]),
                 std::atoll(words[5]), true}};
  const Sizes sizes(at);
  const size_t element = kSizes[static_cast<int>(at.kind)];
  Buffer x(sizes.full * element), y(sizes.pooled * element), codes(sizes.words * 4);
  Buffer back(sizes.full * element);
  std::vector<unsigned char> bytes(sizes.full * element);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 37 >> 3 & 63);
  x.write(bytes);
  for (int i = 0; i < std::atoi(words[6]); ++i) run(at, x, y, codes, back);
  std::printf("%s\n", kMethods[method_of(at)]);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count >= 2 && count <= 3 && std::strcmp(words[1], "check") == 0)
    return check_table(count == 3 ? words[2] : "all");
  if (count == 9 && std::strcmp(words[1], "repeat") == 0) return repeat(words + 2);
  std::fprintf(stderr, "usage: drive_kernels check [METHOD] | repeat KIND LAYOUT N C H W TIMES\n");
  return 2;
}
