// Vectors, and functions compiled for several processors.
//
// MMKD_CLONES before a function (no template) compiles it for several generations of x86-64
// and picks one when the library is loaded. Products are never fused into sums (see build.py),
// so that all of them give the same bits. Sanitizers cannot run the code that picks.
//
// With vectors written out, MMKD_VERSIONS(DEFINE) does the same by hand: DEFINE(kBytes, VERSION)
// defines the function for vectors of kBytes. GCC keeps a vector that the processor has no
// register for in memory, which is many times slower: so each has its own size. Vectors of 64
// bytes were no faster but in furthest point sampling.
#pragma once

#include <climits>  // defines __GLIBC__ where glibc is

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && \
    defined(__linux__) && defined(__GLIBC__) && !defined(MMKD_SANITIZE)
#define MMKD_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define MMKD_VERSIONS(DEFINE)                           \
  DEFINE(32, __attribute__((target("arch=x86-64-v3")))) \
  DEFINE(16, __attribute__((target("default"))))
#else
#define MMKD_CLONES
#define MMKD_VERSIONS(DEFINE) DEFINE(16, )
#endif

// What a version calls must become part of it. A vector goes in and out through a pointer: how
// one is passed depends on the processor.
#define MMKD_INLINE inline __attribute__((always_inline))

namespace mmkd {

// Values are stored in blocks of this many, whole vectors of every size.
template <class T>
constexpr int kLanes = 64 / int(sizeof(T));

// A vector of kBytes, at any address of an A.
template <class A, int kBytes>
struct Pack {
  typedef A type __attribute__((vector_size(kBytes), aligned(alignof(A)), may_alias));
  static constexpr int size = kBytes / int(sizeof(A));

  static MMKD_INLINE const type& at(const A* values) {
    return *reinterpret_cast<const type*>(values);
  }
  static MMKD_INLINE type& at(A* values) { return *reinterpret_cast<type*>(values); }
};

}  // namespace mmkd
