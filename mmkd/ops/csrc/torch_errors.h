// What a call of torch that failed (memory ran out) tells the caller. Before torch's stable headers.
//
// Theirs names a line of a header, and writes it with a stringstream, of which libc10 exports a part
// of its own: where g++ is newer than the one that torch was built with the two together crash (seen
// with g++ 13 and torch 2.11).
#pragma once

#include <torch/headeronly/util/shim_utils.h>

#include <stdexcept>
#include <string>

// In torch 2.13 and newer.
extern "C" __attribute__((weak)) const char* torch_exception_get_what_without_backtrace();

namespace mmkd {

[[noreturn]] inline void throw_error_of_torch() {
  const bool told = torch_exception_get_what_without_backtrace != nullptr;
  throw std::runtime_error(told ? torch_exception_get_what_without_backtrace()
                                : "torch failed in a kernel of mmkd; is memory exhausted?");
}

}  // namespace mmkd

// Without a loop around it: torch leaves out a semicolon.
#undef TORCH_ERROR_CODE_CHECK
#define TORCH_ERROR_CODE_CHECK(call) \
  if ((call) != TORCH_SUCCESS) { mmkd::throw_error_of_torch(); }
