// Ceilings of this machine: multiply-adds in registers and AMX tiles (fp32, bf16, int8), and
// memcpy. Prints one JSON object. Usage: ceilings THREADS SECONDS [cpu]; cpu measures processor
// time. Compile with -O3 -march=native.
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "amx_tiles.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace {

constexpr int kChains = 12;  // independent sums: latency times throughput, within the registers
constexpr int64_t kRounds = 100000;

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

// Hides a value from the optimiser, so that every product is computed in each round.
template <typename T>
inline void hide(T& value) {
#if defined(__ARM_NEON)
  asm volatile("" : "+w"(value));
#else
  asm volatile("" : "+x"(value));
#endif
}

// Adds to each of the sums in kRounds rounds: sum = add(sum, factor).
template <typename Sum, typename Factor, typename Add>
inline void add_in_chains(Factor factor, Add add) {
  Sum sums[kChains] = {};
  for (int64_t r = 0; r < kRounds; ++r) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) {
      hide(factor);
      sums[k] = add(sums[k], factor);
    }
  }
  for (Sum& sum : sums) hide(sum);
}

typedef float Floats __attribute__((vector_size(kBytes)));

// Returns the multiply-adds done.
int64_t fp32_round() {
  add_in_chains<Floats>(Floats{} + 0.5f, [](Floats sum, Floats a) { return sum + a * 0.25f; });
  return kRounds * kChains * (kBytes / 4);
}

#if defined(__AVX512VNNI__)
const char* kInt8 = "AVX-512 VNNI";
using Ints = __m512i;
inline Ints dot(Ints sum, Ints a, Ints b) { return _mm512_dpbusd_epi32(sum, a, b); }
inline Ints ones() { return _mm512_set1_epi8(1); }
constexpr int kDots = 64;
#elif defined(__AVXVNNI__)
const char* kInt8 = "AVX-VNNI";
using Ints = __m256i;
inline Ints dot(Ints sum, Ints a, Ints b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
inline Ints ones() { return _mm256_set1_epi8(1); }
constexpr int kDots = 32;
#elif defined(__AVX2__)
const char* kInt8 = "AVX2 vpmaddubsw";
using Ints = __m256i;
inline Ints dot(Ints sum, Ints a, Ints b) {
  const Ints pairs = _mm256_maddubs_epi16(a, b);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline Ints ones() { return _mm256_set1_epi8(1); }
constexpr int kDots = 32;
#elif defined(__ARM_FEATURE_DOTPROD)
const char* kInt8 = "NEON dot product";
using Ints = int32x4_t;
inline Ints dot(Ints sum, Ints a, Ints b) {
  return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
inline Ints ones() { return vreinterpretq_s32_s8(vdupq_n_s8(1)); }
constexpr int kDots = 16;
#else
const char* kInt8 = "none";
#endif

int64_t int8_round() {
#if defined(__AVX2__) || defined(__ARM_FEATURE_DOTPROD)
  add_in_chains<Ints>(ones(), [b = ones()](Ints sum, Ints a) { return dot(sum, a, b); });
  return kRounds * kChains * kDots;
#else
  return 0;
#endif
}

#if defined(__AVX512BF16__)
const char* kBf16 = "AVX-512 BF16";
#else
const char* kBf16 = "none";
#endif

int64_t bf16_round() {
#if defined(__AVX512BF16__)
  const auto one = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f80));
  add_in_chains<__m512>(
      one, [one](__m512 sum, __m512bh a) { return _mm512_dpbf16_ps(sum, a, one); });
  return kRounds * kChains * 32;
#else
  return 0;
#endif
}

// Returns the multiply-adds of one call of `tiles`; ends the program if its sums are wrong.
int64_t checked(TileResult (*tiles)(int64_t)) {
  const TileResult result = tiles(kRounds);
  if (!result.exact) {
    std::fprintf(stderr, "ceilings: the AMX tiles give wrong sums\n");
    std::exit(1);
  }
  return result.macs;
}

int64_t amx_int8_round() { return checked(int8_tiles); }
int64_t amx_bf16_round() { return checked(bf16_tiles); }

clockid_t clock_used = CLOCK_MONOTONIC;

double now() {
  timespec time;
  clock_gettime(clock_used, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Repeats `round` on every thread for `seconds` in all; returns the best of five, in units/s.
double rate(int threads, double seconds, const std::function<int64_t()>& round) {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::vector<double> rates(threads);
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        round();  // touches the memory before the clock starts
        const double start = now();
        int64_t done = 0;
        double passed = 0;
        do done += round();
        while ((passed = now() - start) < seconds / 5);
        rates[t] = static_cast<double>(done) / passed;
      });
    double sum = 0;
    for (int t = 0; t < threads; ++t) all[t].join(), sum += rates[t];
    best = sum > best ? sum : best;
  }
  return best;
}

int64_t copy_round() {
  constexpr size_t kSize = 64 << 20;
  thread_local std::vector<char> from(kSize, 1), to(kSize, 2);
  std::memcpy(to.data(), from.data(), kSize);
  asm volatile("" : : "r"(to.data()) : "memory");
  return kSize;
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
  const double seconds = count > 2 ? std::atof(arguments[2]) : 1;
  if (count > 3 && std::strcmp(arguments[3], "cpu") == 0) clock_used = CLOCK_THREAD_CPUTIME_ID;
  const auto print = [&](const char* name, const std::function<int64_t()>& round) {
    std::printf("\"%s\": %.2f, ", name, rate(threads, seconds, round) / 1e9);
  };
  const char* no_amx = why_no_amx();
  std::printf("{\"vector_bytes\": %d, \"int8_with\": \"%s\", ", kBytes, kInt8);
  std::printf("\"bf16_with\": \"%s\", \"no_amx\": \"%s\", ", kBf16, no_amx);
  print("fp32_gmacs", fp32_round);
  print("bf16_gmacs", bf16_round);
  print("int8_gmacs", int8_round);
  if (!*no_amx) {
    print("amx_bf16_gmacs", amx_bf16_round);
    print("amx_int8_gmacs", amx_int8_round);
  }
  std::printf("\"memcpy_gbs\": %.2f}\n", rate(threads, seconds, copy_round) / 1e9);
  return threads < 1;
}
