// The sockets of a run: those that its context names, and those that it looked up. Programs hold
// pointers to them; a helper takes a pointer for a socket only if it is one of these.
//
// A sandboxed program sees them in region::kObject, as copies of what struct bpf_sock or struct
// bpf_tcp_sock has; the host's structs are out of its reach.
#pragma once

#include <cstdint>

#include <skep/context.hpp>

#include "helpers/env.hpp"

namespace skep {

// The socket of the run's context, or null.
SockContext* context_socket(const HelperEnv& env) noexcept;

// The host's struct if `object` is a socket of this run, else null: a kernel's object.
SockContext* socket_at(const HelperEnv& env, const void* object) noexcept;

// Make a socket, or its TCP part, one of the run's objects; false for null, for a socket without
// such a part, and (with a trap) when the run has too many.
bool add_socket(HelperEnv& env, SockContext* socket) noexcept;
bool add_tcp_part(HelperEnv& env, SockContext* socket) noexcept;
// Sandbox: the guest address of one of the run's objects, 0 for anything else; and the object at a
// guest address, or null.
uint64_t object_address(const HelperEnv& env, const void* host) noexcept;
const RunObject* object_at(const HelperEnv& env, uint64_t address) noexcept;

// A socket with a reference that sk_release, or the end of the run, gives back. Null if the socket
// is null or cannot be held (trap).
SockContext* hold_socket(HelperEnv& env, SockContext* socket) noexcept;
// False: the run holds no reference to it.
bool drop_socket(HelperEnv& env, SockContext* socket) noexcept;

// The number that socket maps and storages know a socket by: its cookie, or without one its
// address.
uint64_t socket_number(const SockContext& socket) noexcept;

// Whether the entries of a map are sockets.
bool holds_sockets(const Map& map) noexcept;
// Puts a socket into a socket map, by its number; 0 or a negative errno.
int64_t store_socket(Map& map, const std::byte* key, const SockContext* socket,
                     uint64_t flags) noexcept;
// The socket that a socket map holds, with a reference; null if there is none.
SockContext* load_socket(HelperEnv& env, Map& map, const std::byte* key) noexcept;

}  // namespace skep
