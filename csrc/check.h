// The refusal of what no kernel could accept, the same for every backend.
#pragma once

#include "api.h"

namespace stylegan_fast {

// ok, or invalid_argument with last_error() naming op, field, value and shape.
Status check(const AdaINForward&);
Status check(const AdaINBackward&);
Status check(const PhiloxNormal&);
Status check(const BiasActForward&);
Status check(const BiasActBackward&);
Status check(const BiasActSecond&);
Status check(const UpFirDn2d&);

}  // namespace stylegan_fast
