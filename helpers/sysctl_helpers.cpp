// What sysctl programs ask about the variable that is read or written.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>

#include "helpers/impl.hpp"

namespace skep::helper {

namespace {

// A NUL-terminated copy; -E2BIG when it had to be cut. The rest of `out` is zeroed.
int64_t copy_text(WriteMem out, const char* text) {
    std::memset(out.data, 0, out.size);
    if (text == nullptr) return kEinval;
    const size_t length = std::strlen(text);
    const size_t kept = std::min<uint64_t>(length, out.size - 1);
    std::memcpy(out.data, text, kept);
    return kept < length ? kE2big : static_cast<int64_t>(length);
}

}  // namespace

int64_t sysctl_get_name(HelperEnv&, CtxArg ctx, WriteMem out, uint64_t flags) noexcept {
    constexpr uint64_t kBaseName = 1;
    const char* name = ctx.as<SysctlContext>().name;
    if ((flags & ~kBaseName) != 0) name = nullptr;
    if (name != nullptr && (flags & kBaseName) != 0) {
        if (const char* slash = std::strrchr(name, '/'); slash != nullptr) name = slash + 1;
    }
    return copy_text(out, name);
}
int64_t sysctl_get_current_value(HelperEnv&, CtxArg ctx, WriteMem out) noexcept {
    return copy_text(out, ctx.as<SysctlContext>().current_value);
}
int64_t sysctl_get_new_value(HelperEnv&, CtxArg ctx, WriteMem out) noexcept {
    const auto& sysctl = ctx.as<SysctlContext>();
    return copy_text(out, sysctl.write != 0 ? sysctl.new_value : nullptr);
}
int64_t sysctl_set_new_value(HelperEnv&, CtxArg ctx, ReadMem value) noexcept {
    auto& sysctl = ctx.as<SysctlContext>();
    if (sysctl.write == 0 || sysctl.written == nullptr) return kEinval;
    if (value.size > sysctl.written_capacity) return kE2big;
    std::memcpy(sysctl.written, value.data, value.size);
    sysctl.written_size = static_cast<uint32_t>(value.size);
    return 0;
}

}  // namespace skep::helper
