// probe_read and its relatives: copies of memory that the host published, or that is the program's
// own. Everything else is -EFAULT with a zeroed buffer, as in Linux.
#include "helpers/impl.hpp"
#include "helpers/readable.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kBytesPerUnit = 4096;  // of fuel

int64_t read(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) {
    if (!env.charge(out.size / kBytesPerUnit)) return 0;
    return read_bytes(env, address, out.data, out.size) ? 0 : kEfault;
}

int64_t read_text(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) {
    if (!env.charge(out.size / kBytesPerUnit)) return 0;
    return read_string(env, address, out.data, out.size);
}

}  // namespace

int64_t probe_read(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read(env, out, address);
}
int64_t probe_read_user(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read(env, out, address);
}
int64_t probe_read_kernel(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read(env, out, address);
}
int64_t copy_from_user(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read(env, out, address);
}
int64_t probe_read_str(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read_text(env, out, address);
}
int64_t probe_read_user_str(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read_text(env, out, address);
}
int64_t probe_read_kernel_str(HelperEnv& env, WriteMemOrEmpty out, uint64_t address) noexcept {
    return read_text(env, out, address);
}

}  // namespace skep::helper
