// Connections that programs put into the tracker of a Vm (kernel functions bpf_ct_*): which object
// stands for which pair of ends. Thread-safe; bounded.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "vm/sync/spin_lock.hpp"

namespace skep {

class ObjectHeap;

// struct nf_conntrack_tuple: addresses, ports, family, protocol of one direction; and the zone.
struct ConnectionKey {
    std::array<std::byte, 40> tuple{};
    uint32_t zone = 0;
    auto operator<=>(const ConnectionKey&) const = default;
};

class Connections {
public:
    static constexpr size_t kMost = 65536;

    explicit Connections(ObjectHeap& heap) : heap_(heap) {}

    struct Found {
        std::byte* object = nullptr;  // with a reference, the caller's; null: none
        bool reply = false;           // the tuple is that of the answers
    };
    Found find(const ConnectionKey& key) noexcept;
    // Takes over the caller's reference. False: one of the two is known already, or the table is
    // full; nothing changed.
    bool insert(const ConnectionKey& original, const ConnectionKey& reply,
                std::byte* object) noexcept;
    // Both directions of the object; gives up the table's reference.
    void erase(const std::byte* object) noexcept;

private:
    ObjectHeap& heap_;
    sync::SpinLock lock_;
    std::map<ConnectionKey, Found> known_;
};

}  // namespace skep
