// Helpers on kernel objects: tasks, files, mappings, packets of tracing programs. The objects are
// addresses in published memory (helpers/readable.hpp) or of the synthetic ones; everything is read
// by look-up.
#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/btf_print.hpp"
#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "helpers/readable.hpp"
#include "vm/btf/btf.hpp"

namespace skep::helper {

namespace {

constexpr int64_t kEnametoolong = -36;

uint64_t address(const void* object) { return reinterpret_cast<uintptr_t>(object); }

void* opaque(uint64_t at) { return reinterpret_cast<void*>(static_cast<uintptr_t>(at)); }

// The pointer at `offset` of an object; 0 if it cannot be read.
uint64_t pointer_at(const HelperEnv& env, uint64_t object, std::optional<uint32_t> offset) {
    uint64_t value = 0;
    if (object == 0 || !offset) return 0;
    read_bytes(env, object + *offset, reinterpret_cast<std::byte*>(&value), sizeof value);
    return value;
}

// Puts names together from the end: "/usr/bin/env" out of "env", "bin", "usr".
class Name {
public:
    explicit Name(std::span<char> room) : room_(room), first_(room.size()) {}
    bool prepend(std::string_view part) {
        if (part.size() > first_) return false;
        first_ -= part.size();
        std::copy(part.begin(), part.end(), room_.begin() + static_cast<ptrdiff_t>(first_));
        return true;
    }
    std::string_view text() const { return {room_.data() + first_, room_.size() - first_}; }

private:
    std::span<char> room_;
    size_t first_;
};

// Walks from a path's entry up to the root of its mount.
int64_t walk_names(HelperEnv& env, uint64_t path, Name& name) {
    constexpr unsigned kDeepest = 256;
    constexpr uint64_t kLongestPart = 256;
    const KernelOffsets& o = env.world->offsets();
    if (!o.dentry_name || !o.qstr_name) return kEfault;
    uint64_t entry = pointer_at(env, path, o.path_dentry);
    const uint64_t root = pointer_at(env, pointer_at(env, path, o.path_mnt), o.mnt_root);
    if (entry == 0) return kEfault;
    for (unsigned depth = 0; entry != root && depth < kDeepest; ++depth) {
        const uint64_t parent = pointer_at(env, entry, o.dentry_parent);
        if (parent == entry || parent == 0) break;
        const uint64_t text = pointer_at(env, entry + *o.dentry_name, o.qstr_name);
        std::byte part[kLongestPart];
        const int64_t size = read_string(env, text, part, sizeof part);
        if (size <= 0) return kEfault;
        if (!env.charge(1)) return 0;
        const auto* chars = reinterpret_cast<const char*>(part);
        if (!name.prepend({chars, static_cast<size_t>(size) - 1}) || !name.prepend("/"))
            return kEnametoolong;
        entry = parent;
    }
    if (name.text().empty() && !name.prepend("/")) return kEnametoolong;
    return static_cast<int64_t>(name.text().size());
}

bool is_current(HelperEnv& env, uint64_t task) {
    return task != 0 && task == get_current_task(env);
}

// The first member of that name in a struct of the kernel's.
std::optional<uint32_t> member(const HelperEnv& env, std::string_view type, std::string_view name) {
    if (env.world == nullptr) return std::nullopt;
    const Btf& btf = env.world->btf();
    const uint32_t id = btf.find(type, BtfKind::Struct);
    const auto found = id == 0 ? std::nullopt : btf.find_member(id, name);
    return found ? std::optional(found->offset()) : std::nullopt;
}

// A record with `length` bytes at `packet` behind it, for tracing programs.
int64_t output(HelperEnv& env, Map& map, uint64_t flags, ReadMemOrEmpty data, uint64_t packet,
               uint64_t available) {
    constexpr uint64_t kIndexMask = 0xffffffff, kLengthMask = uint64_t{0xfffff} << 32;
    if (map.def().type != MapType::PerfEventArray) {
        env.fail(TrapCode::BadArgument);
        return 0;
    }
    if ((flags & ~(kIndexMask | kLengthMask)) != 0) return kEinval;
    const uint64_t length = (flags & kLengthMask) >> 32;
    std::span<const std::byte> more;
    if (length != 0) {
        more = readable_bytes(env, packet);
        if (length > available || length > more.size()) return kEfault;
        more = more.first(length);
    }
    if (!env.charge((data.size + length) / 4096)) return 0;
    return map.output({data.data, data.size}, more, flags & kIndexMask, env.caller());
}

}  // namespace

// The buffer gets the whole name with its NUL, or is zeroed; the result counts the NUL.
int64_t d_path(HelperEnv& env, BtfArg<ObjectKind::Path> path, ReadWriteMemOrEmpty out) noexcept {
    if (out.size == 0) return 0;
    std::memset(out.data, 0, out.size);
    char room[4096];
    Name name{std::span(room)};
    int64_t length = 0;
    std::string_view text;
    if (env.services != nullptr && env.services->path_name) {
        length = env.services->path_name(address(path.object), room);
        if (length > static_cast<int64_t>(sizeof room)) length = kEnametoolong;
        if (length >= 0) text = {room, static_cast<size_t>(length)};
    } else if (env.world == nullptr) {
        return kEfault;
    } else {
        length = walk_names(env, address(path.object), name);
        if (length >= 0) text = name.text();
    }
    if (length < 0) return length;
    if (text.size() + 1 > out.size) return kEnametoolong;
    std::memcpy(out.data, text.data(), text.size());
    return static_cast<int64_t>(text.size()) + 1;
}

int64_t get_task_stack(HelperEnv& env, BtfArg<ObjectKind::Task> task, WriteMemOrEmpty out,
                       uint64_t flags) noexcept {
    if (is_current(env, address(task.object))) return get_stack(env, {nullptr}, out, flags);
    std::memset(out.data, 0, out.size);
    return kEfault;
}

BtfResult<ObjectKind::PtRegs> task_pt_regs(HelperEnv& env, BtfArg<ObjectKind::Task>) noexcept {
    return {env.enter_world() ? opaque(env.world->registers()) : nullptr};
}

int64_t copy_from_user_task(HelperEnv& env, WriteMemOrEmpty out, uint64_t user,
                            BtfArg<ObjectKind::Task>, uint64_t flags) noexcept {
    if (flags != 0) {
        std::memset(out.data, 0, out.size);
        return kEinval;
    }
    return copy_from_user(env, out, user);
}

uint64_t show_mapping(HelperEnv& env, uint64_t start, uint64_t end) noexcept {
    if (!env.enter_world() || env.world->vma() == 0) return 0;
    const uint64_t vma = env.world->vma();
    const KernelOffsets& o = env.world->offsets();
    if (o.vma_start) store_kernel_object(env, vma + *o.vma_start, start, sizeof start);
    if (o.vma_end) store_kernel_object(env, vma + *o.vma_end, end, sizeof end);
    return vma;
}

// The callback gets a vm_area_struct of which start and end are known.
int64_t find_vma(HelperEnv& env, BtfArg<ObjectKind::Task> task, uint64_t at,
                 Callback<CallbackKind::FindVma> callback, CallbackCtx ctx,
                 uint64_t flags) noexcept {
    if (flags != 0) return kEinval;
    if (task.object == nullptr || env.services == nullptr) return kEnoent;
    uint64_t start = 0, end = 0;
    if (env.services->find_mapping) {
        if (!env.services->find_mapping(at, start, end)) return kEnoent;
    } else {
        const auto& ranges = env.services->published;
        const auto found = std::find_if(ranges.begin(), ranges.end(), [&](const auto& range) {
            return !is_kernel_address(range.address) && at >= range.address &&
                   at - range.address < range.size;
        });
        if (found == ranges.end()) return kEnoent;
        start = found->address;
        end = found->address + found->size;
    }
    const uint64_t vma = show_mapping(env, start, end);
    if (vma == 0) return kEnoent;
    if (!env.charge(1)) return 0;
    callback.target->call(env, {address(task.object), vma, ctx.value, 0, 0});
    return 0;
}

// The files here are not sockets.
BtfResultOrNull<ObjectKind::Socket> sock_from_file(HelperEnv&, BtfArg<ObjectKind::File>) noexcept {
    return {nullptr};
}

int64_t skb_output(HelperEnv& env, BtfArg<ObjectKind::Skb> skb, MapArg map, uint64_t flags,
                   ReadMemOrEmpty data) noexcept {
    const uint64_t packet = pointer_at(env, address(skb.object), member(env, "sk_buff", "data"));
    uint32_t length = 0;
    if (const auto at = member(env, "sk_buff", "len"))
        read_bytes(env, address(skb.object) + *at, reinterpret_cast<std::byte*>(&length),
                   sizeof length);
    return output(env, *map.map, flags, data, packet, length);
}

namespace {

struct Extent {
    uint64_t start = 0, size = 0;
};
Extent packet_of(const HelperEnv& env, const void* xdp) {
    const uint64_t start = pointer_at(env, address(xdp), member(env, "xdp_buff", "data"));
    const uint64_t end = pointer_at(env, address(xdp), member(env, "xdp_buff", "data_end"));
    return {start, end > start ? end - start : 0};
}

}  // namespace

int64_t xdp_output(HelperEnv& env, BtfArg<ObjectKind::XdpBuff> xdp, MapArg map, uint64_t flags,
                   ReadMemOrEmpty data) noexcept {
    const Extent packet = packet_of(env, xdp.object);
    return output(env, *map.map, flags, data, packet.start, packet.size);
}

uint64_t xdp_get_buff_len(HelperEnv& env, BtfArg<ObjectKind::XdpBuff> xdp) noexcept {
    return packet_of(env, xdp.object).size;
}

int64_t kallsyms_lookup_name(HelperEnv& env, ReadMemOrEmpty name, int32_t flags,
                             Out<uint64_t> result) noexcept {
    *result.value = 0;
    if (flags != 0) return kEinval;
    constexpr uint64_t kLongest = 512;
    char copy[kLongest];
    if (name.size <= 1 || name.size > sizeof copy) return kEinval;
    std::memcpy(copy, name.data, name.size);
    if (copy[name.size - 1] != 0) return kEinval;
    if (env.services != nullptr && env.services->symbol)
        *result.value = env.services->symbol({copy, strnlen(copy, name.size)});
    return *result.value != 0 ? 0 : kEnoent;
}

// --- objects as text
// ------------------------------------------------------------------------------

namespace {

// What a struct btf_ptr leads to, as text; a negative errno. Nothing here may throw on: texts are
// made in memory that may not be there.
int64_t object_text(HelperEnv& env, const std::byte* pointer, uint64_t size, uint64_t flags,
                    std::string& text) {
    struct BtfPointer {
        uint64_t address;
        uint32_t type, flags;
    } at{};
    if ((flags & ~btf_print::kKnown) != 0 || size != sizeof at) return kEinval;
    std::memcpy(&at, pointer, sizeof at);
    if (at.type == 0 || env.world == nullptr || !env.world->btf().has(at.type)) return kEinval;
    const Btf& btf = env.world->btf();
    const uint32_t bytes = btf.size_of(at.type).value_or(0);
    if (bytes == 0 || bytes > kMaxBtfText) return kEinval;
    if (!env.charge(1 + bytes / 64)) return 0;
    std::vector<std::byte> object(bytes);
    if (!read_bytes(env, at.address, object.data(), bytes)) return kEfault;
    text = print_btf(btf, at.type, object, flags, kMaxBtfText);
    env.charge(text.size() / 64);
    return static_cast<int64_t>(text.size());
}

int64_t object_text_or_errno(HelperEnv& env, const std::byte* pointer, uint64_t size,
                             uint64_t flags, std::string& text) noexcept {
    try {
        return object_text(env, pointer, size, flags, text);
    } catch (const std::bad_alloc&) {
        return kEnomem;
    }
}

}  // namespace

// Returns the length of the whole text, also when it was cut.
int64_t snprintf_btf(HelperEnv& env, WriteMem out, ReadMem pointer, uint64_t flags) noexcept {
    // The pointer may lie in the buffer that is written.
    std::string text;
    const int64_t length = object_text_or_errno(env, pointer.data, pointer.size, flags, text);
    std::memset(out.data, 0, out.size);
    const size_t kept = std::min<uint64_t>(text.size(), out.size - 1);
    std::memcpy(out.data, text.data(), kept);
    return length;
}

int64_t seq_printf_btf(HelperEnv& env, BtfArg<ObjectKind::SeqFile>, ReadMemOrEmpty pointer,
                       uint64_t flags) noexcept {
    std::string text;
    const int64_t length = object_text_or_errno(env, pointer.data, pointer.size, flags, text);
    if (length < 0) return length;
    if (env.services != nullptr && env.services->seq)
        env.services->seq(std::as_bytes(std::span(text.data(), text.size())));
    return 0;
}

}  // namespace skep::helper
