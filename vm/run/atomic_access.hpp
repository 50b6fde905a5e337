// Atomic operations of eBPF on host memory, as C++ runs them.
#pragma once

#include "vm/isa/insn.hpp"

namespace skep {

// The old value; 0 for a store. `address` is aligned for T.
template <class T>
[[gnu::always_inline]] inline T atomic_rmw(AtomicOp op, void* address, T operand,
                                           T expected) noexcept {
    T* p = static_cast<T*>(address);
    switch (op) {
        case AtomicOp::Add:
        case AtomicOp::FetchAdd: return __atomic_fetch_add(p, operand, __ATOMIC_SEQ_CST);
        case AtomicOp::Or:
        case AtomicOp::FetchOr: return __atomic_fetch_or(p, operand, __ATOMIC_SEQ_CST);
        case AtomicOp::And:
        case AtomicOp::FetchAnd: return __atomic_fetch_and(p, operand, __ATOMIC_SEQ_CST);
        case AtomicOp::Xor:
        case AtomicOp::FetchXor: return __atomic_fetch_xor(p, operand, __ATOMIC_SEQ_CST);
        case AtomicOp::Xchg: return __atomic_exchange_n(p, operand, __ATOMIC_SEQ_CST);
        case AtomicOp::Cmpxchg:
            __atomic_compare_exchange_n(p, &expected, operand, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST);
            return expected;
        case AtomicOp::LoadAcquire: return __atomic_load_n(p, __ATOMIC_ACQUIRE);
        case AtomicOp::StoreRelease: __atomic_store_n(p, operand, __ATOMIC_RELEASE); return 0;
    }
    return 0;
}

}  // namespace skep
