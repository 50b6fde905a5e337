// TCP's own congestion control, as struct_ops programs call it: Reno (RFC 5681) on the fields of a
// tcp_sock, which is an object of the kernel's laid out by its BTF.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "helpers/kernel_world.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/readable.hpp"
#include "vm/btf/btf.hpp"

namespace skep::kfunc {

namespace {

// The u32 fields and bits of a tcp_sock, by name.
class Tcp {
public:
    Tcp(HelperEnv& env, uint64_t address) : env_(env), address_(address) {
        if (env.world != nullptr) type_ = env.world->btf().find("tcp_sock", BtfKind::Struct);
    }
    uint32_t get(std::string_view name) const {
        uint32_t value = 0;
        const auto found = member(name);
        if (!found) return 0;
        read_bytes(env_, address_ + found->bit_offset / 8, reinterpret_cast<std::byte*>(&value),
                   sizeof value);
        if (found->bit_size == 0) return value;
        return value >> found->bit_offset % 8 & ((uint32_t{1} << found->bit_size % 32) - 1);
    }
    void set(std::string_view name, uint32_t value) {
        const auto found = member(name);
        if (found && found->bit_size == 0)
            store_kernel_object(env_, address_ + found->bit_offset / 8, value, sizeof value);
    }

private:
    std::optional<BtfMember> member(std::string_view name) const {
        return type_ == 0 ? std::nullopt : env_.world->btf().find_member(type_, name);
    }
    HelperEnv& env_;
    uint64_t address_;
    uint32_t type_ = 0;
};

bool in_slow_start(const Tcp& tcp) { return tcp.get("snd_cwnd") < tcp.get("snd_ssthresh"); }

bool is_limited(const Tcp& tcp) {
    if (tcp.get("is_cwnd_limited") != 0) return true;
    return in_slow_start(tcp) && tcp.get("snd_cwnd") < 2 * tcp.get("max_packets_out");
}

// The window grows by one segment for each that was acknowledged, up to the threshold; what is left
// of those.
uint32_t slow_start(Tcp& tcp, uint32_t acked) {
    const uint32_t window = tcp.get("snd_cwnd");
    const uint32_t grown = std::min(window + acked, tcp.get("snd_ssthresh"));
    tcp.set("snd_cwnd", std::min(grown, tcp.get("snd_cwnd_clamp")));
    return acked - (grown - window);
}

// The window grows by one segment for every `per` that are acknowledged.
void avoid_congestion(Tcp& tcp, uint32_t per, uint32_t acked) {
    if (per == 0) return;
    uint32_t window = tcp.get("snd_cwnd"), counted = tcp.get("snd_cwnd_cnt");
    if (counted >= per) {
        counted = 0;
        ++window;
    }
    counted += acked;
    window += counted / per;
    tcp.set("snd_cwnd_cnt", counted % per);
    tcp.set("snd_cwnd", std::min(window, tcp.get("snd_cwnd_clamp")));
}

}  // namespace

uint32_t tcp_slow_start(HelperEnv& env, uint64_t socket, uint32_t acked) noexcept {
    Tcp tcp(env, socket);
    return slow_start(tcp, acked);
}
void tcp_cong_avoid_ai(HelperEnv& env, uint64_t socket, uint32_t per, uint32_t acked) noexcept {
    Tcp tcp(env, socket);
    avoid_congestion(tcp, per, acked);
}
void tcp_reno_cong_avoid(HelperEnv& env, uint64_t socket, uint32_t, uint32_t acked) noexcept {
    Tcp tcp(env, socket);
    if (!is_limited(tcp)) return;
    if (in_slow_start(tcp)) acked = slow_start(tcp, acked);
    if (acked != 0) avoid_congestion(tcp, tcp.get("snd_cwnd"), acked);
}
uint32_t tcp_reno_ssthresh(HelperEnv& env, uint64_t socket) noexcept {
    return std::max(Tcp(env, socket).get("snd_cwnd") / 2, 2u);
}
uint32_t tcp_reno_undo_cwnd(HelperEnv& env, uint64_t socket) noexcept {
    const Tcp tcp(env, socket);
    return std::max(tcp.get("snd_cwnd"), tcp.get("prior_cwnd"));
}

}  // namespace skep::kfunc
