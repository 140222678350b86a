// How an entry point says what went wrong: `return fail(Status::invalid_argument, "adain_forward: ...")`.
#pragma once

#include "api.h"

namespace stylegan_fast {

// Remembers one line for last_error() in this thread and returns `status`. printf format; longer lines are cut.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
Status fail(Status status, const char* format, ...);

}  // namespace stylegan_fast
