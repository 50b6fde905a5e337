// Chooses the operation of each slot of an extended basic block: a backward pass over its values
// (values.hpp) that starts from what must be in registers where control leaves, folds what has one
// use into its user, and leaves out what nobody needs.
//
// An operand is taken from any register that holds its value at that point. Registers keep their
// values where a definition in between is left out; such definitions are marked, and if one turns
// out to be needed after all, the block is given up and emitted as it stands.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "jit/liveness.hpp"
#include "jit/op.hpp"
#include "jit/values.hpp"

namespace skep::jit {

class Selector {
public:
    Selector(const Image& image, const Liveness& liveness, const std::vector<uint8_t>& selects,
             Abilities abilities)
        : image_(image),
          liveness_(liveness),
          selects_(selects),
          abilities_(abilities),
          values_(image, liveness, selects) {}

    // Chooses for slots first..end-1, of which only `first` is reached from elsewhere and only
    // branches and the last slot leave. Writes ops[first..end-1].
    void select(uint32_t first, uint32_t end, bool private_frame, std::vector<Op>& ops);

private:
    // An address that is being put together: base + index << shift + disp.
    struct Address {
        ValueId base = kNoValue, index = kNoValue;
        uint8_t shift = 0;
        bool exclusive = true;  // nobody else computes what was swallowed last
        int64_t disp = 0;
        std::array<ValueId, 6> folded{};
        unsigned folds = 0;
    };

    Op choose(ValueId id, const Insn& insn, uint32_t slot);
    Op as_it_stands(uint32_t slot);
    Op choose_definition(ValueId id, const Insn& insn, uint32_t slot);
    Op choose_copy(ValueId id);
    Op compute(ValueId v, Reg dst);
    Op compute_alu(const Value& v, Reg dst);
    Op compute_alu_imm(const Value& v, Reg dst);
    Op compute_load(ValueId v, Reg dst);
    Op compute_select(const Value& v, Reg dst);
    bool reachable(ValueId load);
    bool compute_sum(ValueId v, Reg dst, Op& out);
    bool compute_with_load(const Value& v, Reg dst, Op& out);
    bool compute_from_load(const Value& v, Reg dst, Op& out);
    Op choose_branch(ValueId id, uint32_t slot);
    bool choose_test(const Value& v, CondOp cond, Op& out);
    bool choose_memory_compare(const Value& v, CondOp cond, Op& out);
    Op choose_store(ValueId id, const Insn& insn);

    // Whether `v` is in some register here; take() says in which one, and keeps it there.
    bool held(ValueId v) const { return holder(v) != kNoValue; }
    ValueId holder(ValueId v) const;
    bool in_force(ValueId definition) const;
    bool kept(ValueId v) const;
    Reg take(ValueId v, Reg preferred = kNoReg) {
        // Most values have one definition, which is in force.
        Value& value = values_[v];
        if (value.next != kNoValue || value.reg == kNoReg || value.dropped ||
            current_[value.reg] != v)
            return take_of_several(v, preferred);
        ++value.served;
        if (!value.needed) {
            value.needed = true;
            ++values_[value.value].needed_defs;
        }
        return value.reg;
    }
    Reg take_of_several(ValueId v, Reg preferred);
    void need(ValueId definition);
    void need_registers(uint16_t mask);
    void need_leaving(uint16_t mask);

    bool last_use(ValueId v) const;
    void fold(ValueId v);
    bool operands_held(ValueId v) const;
    bool foldable_load(ValueId v, unsigned bits) const;
    bool resolve(ValueId v, bool root, bool always, Address& out);
    bool resolve_sum(ValueId v, bool always, Address& out);
    bool resolve_index(ValueId v, bool always, Address& out);
    void commit(const Address& address);
    Mem memory_of(ValueId base, int64_t disp, unsigned bits);
    Mem load_address(ValueId load);
    bool encodes(const Address& address, unsigned bits) const;

    const Image& image_;
    const Liveness& liveness_;
    const std::vector<uint8_t>& selects_;
    Abilities abilities_;
    Values values_;
    std::array<ValueId, kRegisters> current_{};  // definition of each register in force
    std::array<ValueId, 16> folding_{};          // values that are being computed by their users
    unsigned folding_count_ = 0;
    uint16_t epoch_ = 0;
    uint16_t leaves_with_ = 0;  // as in Values, backward
    bool failed_ = false;
};

}  // namespace skep::jit
