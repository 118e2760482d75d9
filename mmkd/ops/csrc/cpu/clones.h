// MMKD_CLONES before a function (no template) compiles it for several generations of x86-64
// and picks one when the library is loaded. Products are never fused into sums (see build.py),
// so that all of them give the same bits. Sanitizers cannot run the code that picks.
#pragma once

#include <climits>  // defines __GLIBC__ where glibc is

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && \
    defined(__linux__) && defined(__GLIBC__) && !defined(MMKD_SANITIZE)
#define MMKD_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MMKD_CLONES
#endif
