#include "status.h"

#include <cstdarg>
#include <cstdio>

namespace stylegan_fast {

namespace {
thread_local char last_line[512] = "";
}

const char* last_error() { return last_line; }

Status fail(Status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_line, sizeof last_line, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace stylegan_fast
