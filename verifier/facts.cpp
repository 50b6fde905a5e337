// Facts: what held at an instruction over all states that the search looked at there.
//
// A state that was pruned is covered by one that was looked at, with one exception: scalars on
// which no proof rested may differ. So facts rest only on what is always compared (kinds of
// pointers, their fixed offsets and objects) or on scalars that were made precise.
#include <algorithm>
#include <cstdio>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"

namespace skep {

std::string Facts::dump() const {
    std::string out;
    char line[160];
    std::snprintf(line, sizeof line, "complete=%d max_stack=%u worst_fuel=%llu worst_insns=%llu\n",
                  complete, max_stack, static_cast<unsigned long long>(worst_case_fuel),
                  static_cast<unsigned long long>(worst_case_insns));
    out += line;
    constexpr const char* kMemory[] = {"unknown",   "stack",   "context", "packet", "packet_meta",
                                       "map_value", "map_key", "ringbuf", "socket", "btf",
                                       "buffer",    "mem",     "arena",   "kptr"};
    for (size_t i = 0; i < slots.size(); ++i) {
        const SlotFact& f = slots[i];
        std::string text;
        if (!f.reachable) text += " dead";
        if (f.branch == BranchFact::Always) text += " always";
        if (f.branch == BranchFact::Never) text += " never";
        if (f.access_proven) {
            text += " proven ";
            text += kMemory[static_cast<size_t>(f.memory)];
            if (f.memory == Memory::Context) text += "+" + std::to_string(f.offset);
        }
        if (f.map >= 0) text += " map=" + std::to_string(f.map);
        if (f.key_const) text += " key=" + std::to_string(f.value);
        if (f.nonnull) text += " nonnull";
        if (f.divisor_nonzero) text += " nonzero";
        if (f.callback >= 0) text += " callback=" + std::to_string(f.callback);
        if (!text.empty()) out += std::to_string(i) + ":" + text + "\n";
    }
    for (size_t i = 0; i < subprograms.size(); ++i) {
        std::snprintf(line, sizeof line, "subprogram %zu: stack=%u%s%s\n", i,
                      subprograms[i].stack_bytes, subprograms[i].stack_escapes ? " escapes" : "",
                      subprograms[i].reads_uninitialised ? " reads_uninitialised" : "");
        out += line;
    }
    return out;
}

}  // namespace skep

namespace skep::verifier {

void Analyzer::fact_access(Memory memory, const Cell& cell, int64_t off) {
    if (!options_.facts) return;
    SlotFact& fact = facts_[slot_];
    const int32_t map = cell.type == CellType::MapValue || cell.type == CellType::MapKey
                            ? maps_[cell.object].program_index
                            : -1;
    const bool fixed = num(cell).is_const();
    const auto offset =
        static_cast<int32_t>(off + (fixed ? static_cast<int64_t>(num(cell).value()) : 0));
    const Tnum bits = tnum_add(num(cell).bits, tnum_const<uint64_t>(static_cast<uint64_t>(off)));
    const uint64_t low = bits.value | bits.mask;
    // Where a packet or a buffer starts is not known, and pruning lets pointers into packets move.
    const bool in_packet =
        memory == Memory::Packet || memory == Memory::PacketMeta || memory == Memory::Buffer;
    const auto align = static_cast<uint8_t>(in_packet  ? 0
                                            : low == 0 ? 3
                                                       : std::min(3, std::countr_zero(low)));
    // Every access that the search lets pass is proven, but for objects that are reached in their
    // own way and meet something else; buffers, by who runs the program (Facts::read_buffer).
    if (call_seen_[slot_] == 0) {
        call_seen_[slot_] = 1;
        fact.access_proven = true;
        fact.memory = memory;
        fact.map = map;
        fact.offset = memory == Memory::Context ? offset : 0;
        fact.align_log2 = align;
        return;
    }
    fact.align_log2 = std::min(fact.align_log2, align);
    if (fact.map != map) fact.map = -1;
    if (fact.memory == memory && fact.offset == (memory == Memory::Context ? offset : 0)) return;
    const auto is_object = [](Memory m) {
        return m == Memory::Btf || m == Memory::Kptr || m == Memory::Arena;
    };
    if (is_object(memory) || is_object(fact.memory)) fact.access_proven = false;
    fact.memory = Memory::Unknown;
    fact.offset = 0;
    fact.map = -1;
}

void Analyzer::note_call_facts(const CallInfo& call) {
    if (!options_.facts) return;
    SlotFact& fact = facts_[slot_];
    const bool first = call_seen_[slot_] == 0;
    call_seen_[slot_] = 1;
    const int32_t map =
        call.map.type == CellType::MapHandle ? maps_[call.map.object].program_index : -1;
    const int32_t callback =
        call.callback_subprogram < 0
            ? -1
            : static_cast<int32_t>(
                  program_.subprograms[static_cast<uint32_t>(call.callback_subprogram)].first);
    if (first) {
        fact.map = map;
        fact.callback = callback;
        fact.key_const = call.key_const;
        fact.value = call.key;
        fact.nonnull = call.key_in_bounds;
        return;
    }
    if (fact.map != map) fact.map = -1;
    if (fact.callback != callback) fact.callback = -1;
    if (!call.key_const || fact.value != call.key) fact.key_const = false;
    if (!call.key_in_bounds) fact.nonnull = false;
}

void Analyzer::finish_facts(Analysis& analysis) {
    Facts& facts = analysis.facts;
    facts.complete = true;
    facts.slots = std::move(facts_);
    for (uint32_t slot = 0; slot < facts.slots.size(); ++slot) {
        SlotFact& fact = facts.slots[slot];
        const Kind kind = program_.insns[slot].kind;
        const bool second_half = kind == Kind::Imm64High;
        fact.reachable = second_half ? slot > 0 && reached_[slot - 1] != 0 : reached_[slot] != 0;
        if (kind == Kind::Branch && fact.reachable) {
            if (branch_seen_[slot] == 1) fact.branch = BranchFact::Always;
            if (branch_seen_[slot] == 2) fact.branch = BranchFact::Never;
        }
    }
    facts.subprograms.resize(program_.subprograms.size());
    for (size_t i = 0; i < facts.subprograms.size(); ++i) {
        facts.subprograms[i].stack_bytes = (frame_bytes_[i] + 7u) & ~7u;
        facts.subprograms[i].stack_escapes = true;
        facts.subprograms[i].reads_uninitialised = true;
    }
    // Every path was followed to its end, or to a state from which all were. Callbacks and may_goto
    // are followed until rounds converge: they have no longest path.
    if (!unbounded_) facts.worst_case_insns = facts.worst_case_fuel = longest_;
}

}  // namespace skep::verifier
