// adain's entry points for calls that read x through phases or blur.
#pragma once

#include "../api.h"

namespace stylegan_fast {
namespace cuda {

inline bool reads_through(const AdaIN& op) { return op.phases || op.blur; }

// Of a checked call whose y is not empty.
int64_t reading_forward_workspace(const AdaINForward&);
int64_t reading_backward_workspace(const AdaINBackward&);
Status reading_forward(const char* entry, const AdaINForward&, void* stream);
Status reading_backward(const char* entry, const AdaINBackward&, void* stream);

// dx of a call with phases whose y is empty: zeros.
Status reading_zero(const char* entry, const AdaINBackward&, void* stream);

}  // namespace cuda
}  // namespace stylegan_fast
