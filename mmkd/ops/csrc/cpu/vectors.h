// Vectors of the widest processor, and functions compiled for several processors.
//
// MMKD_CLONES before a function (no template) compiles it for several generations of x86-64
// and picks one when the library is loaded. Products are never fused into sums (see build.py),
// so that all of them give the same bits. Sanitizers cannot run the code that picks.
// MMKD_VERSION(processor) before each of several definitions of one function does the same by
// hand: for vectors no wider than the processor's. It is not defined where it cannot be.
#pragma once

#include <climits>  // defines __GLIBC__ where glibc is

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && \
    defined(__linux__) && defined(__GLIBC__) && !defined(MMKD_SANITIZE)
#define MMKD_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define MMKD_VERSION(processor) __attribute__((target(processor)))
#else
#define MMKD_CLONES
#endif

// What a clone calls must become part of it. A vector goes in and out through a pointer: how
// one is passed depends on the processor.
#define MMKD_INLINE inline __attribute__((always_inline))

namespace mmkd {

constexpr int kVectorBytes = 64;
template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));
// Lies at any address of a T; narrower processors take it in pieces.
template <class T>
using Vector __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias)) = T;

}  // namespace mmkd
