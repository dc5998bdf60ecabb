// Whether backends may measure which form of a weight is fastest.
#pragma once

namespace bertx {

/// BERTX_TUNE: on (the default) or off. Throws Error(usage) for anything else.
bool tuning_wanted();

}  // namespace bertx
