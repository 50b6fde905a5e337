// A call of a kernel function, while it is being checked.
//
// step_kfunc() resolves the name, asks whether this program may call it here (kfunc.cpp), checks
// each argument by the prototype (kfunc_args.cpp), and lets the call act on the state (kfunc.cpp).
// Functions that work on allocated objects have rules of their own: kfunc_objects.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <skep/map.hpp>

#include "helpers/kfunc.hpp"
#include "verifier/cell.hpp"

namespace skep::verifier {

// What the call at a slot names. One per slot, made when it is first looked at.
struct KfuncRef {
    enum class Status : uint8_t {
        Known,       // `kfunc` or `host` is set
        Unnamed,     // only the kernel's BTF tells what it is
        NoFunction,  // the id is not that of a function
        Missing,     // there is no such function
        Unknown,     // nothing tells whether there is
        NotAllowed,  // a function of the kernel's that no program may call
    };
    Status status = Status::Unnamed;
    bool weak = false;
    std::string name;
    const Kfunc* kfunc = nullptr;
    const Helper* host = nullptr;  // the host's own
    KfuncProto proto;
};

struct KfuncCall {
    const KfuncRef& ref;
    const Kfunc& kfunc;
    // The constant of a __k or __szk argument.
    std::optional<uint64_t> constant{};
    // Size of the memory that the call returns, where an argument says it.
    std::optional<uint64_t> result_size{};
    bool result_readonly = false;
    uint32_t held = 0;         // reference that an argument carries
    unsigned release_reg = 0;  // the argument that is released
    Cell map{};                // of a __map argument
    Cell field_map{};          // MapHandle: whose value a workqueue or task_work lies in
    Cell object{};             // the first object argument
    // Lists and trees: the head or root, a node in an object of theirs, the reference that they
    // get.
    struct Graph {
        const SpecialField* root = nullptr;
        Cell node{};
        uint32_t given = 0;
    } graph{};
    bool never_null = false;  // the result, though the function may return null
    int32_t callback = -1;    // subprogram
    // An initialised dynptr argument, the first one: its slot.
    Cell dynptr{};
    // An iterator: frame and offset of its first slot.
    unsigned frame = 0;
    int off = 0;
    int iterator = -1;  // kind

    bool is(KfuncSpecial special) const { return kfunc.special == special; }
};

// Cell::object of iterators: what they iterate over, and how far they are.
namespace iterator_cell {
inline constexpr uint16_t kActive = 1, kDrained = 2, kStates = 4;
constexpr uint16_t make(int kind, uint16_t state) {
    return static_cast<uint16_t>(kind * kStates + state);
}
constexpr uint16_t state_of(const Cell& cell) { return cell.object % kStates; }
constexpr int kind_of(const Cell& cell) { return cell.object / kStates; }
}  // namespace iterator_cell

}  // namespace skep::verifier
