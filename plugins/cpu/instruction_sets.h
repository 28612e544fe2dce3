// How the CPU kernels are compiled: one clone per instruction set, from loops that the compiler
// vectorises. The loops over windows are in window_loops.h.
#pragma once

// One clone of a function per instruction set. The dynamic loader selects the best one that the
// processor supports. AArch64 needs no clones: NEON is part of its baseline.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define SEGNET_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define SEGNET_CLONES
#endif

// Inlined into every clone, and so compiled for its instruction set.
#define SEGNET_INLINE inline __attribute__((always_inline))

// An int8_t pointer may alias any object; without this its loops are not vectorised.
#define SEGNET_RESTRICT __restrict__
