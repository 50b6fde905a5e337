// What Linux says of security hooks beyond their prototypes.
#pragma once

#include <string_view>

namespace skep::verifier {

struct LsmHook {
    bool may_sleep = false;
    bool is_untrusted = false;  // its arguments are objects in the making or going
    bool is_disabled = false;   // no program may attach
    bool is_yes_or_no = false;  // its result is 0 or 1, not an errno
};
LsmHook lsm_hook(std::string_view name);

}  // namespace skep::verifier
