// Lowering binds each slot of a program: constants become addresses or handles, calls find their
// helper, context accesses with a known offset become accesses to the host's struct, and what can
// never run or exists only in a kernel becomes a trap.
//
// The checked form trusts nothing: facts that are incomplete are ignored. The unchecked form relies
// on them for every access.
#include "vm/run/lower.hpp"

#include <algorithm>
#include <utility>

#include "helpers/kfunc.hpp"
#include "helpers/table.hpp"
#include "maps/arena.hpp"
#include "maps/object_heap.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"
#include "vm/run/run_area.hpp"

namespace skep {

namespace {

uint64_t address_of(const void* p) { return reinterpret_cast<uintptr_t>(p); }

bool names_register(const Insn& insn) {
    switch (insn.kind) {
        case Kind::Alu:
        case Kind::Branch:
        case Kind::Store:
        case Kind::LoadPacket: return !insn.is_imm;
        case Kind::Atomic:
        case Kind::AddrSpaceCast: return true;
        default: return false;
    }
}

// What a subprogram uses of its frame. Only accesses straight through r10 are understood; any other
// use of r10 lets its address go anywhere.
FrameInfo frame_of(const Program& program, const Subprogram& subprogram) {
    int32_t deepest = 0;
    for (uint32_t slot = subprogram.first; slot < subprogram.first + subprogram.count; ++slot) {
        const Insn& insn = program.insns[slot];
        const bool is_access =
            insn.kind == Kind::Load || insn.kind == Kind::Store || insn.kind == Kind::Atomic;
        const uint8_t base = insn.kind == Kind::Load ? insn.src : insn.dst;
        if (is_access && base == kFramePointer) {
            if (insn.off >= 0 || insn.off < -static_cast<int32_t>(kStackBytes)) return {};
            deepest = std::max<int32_t>(deepest, -insn.off);
        }
        if (names_register(insn) && insn.src == kFramePointer) return {};
        if (!is_access && insn.kind != Kind::Imm64High && insn.dst == kFramePointer) return {};
    }
    const uint32_t bytes = (static_cast<uint32_t>(deepest) + 15u) & ~15u;
    return {bytes, bytes != 0};
}

// Types whose values stay where they are for as long as the map lives.
bool never_reclaims(MapType type) { return type == MapType::Array || type == MapType::PercpuArray; }

class Lowering {
public:
    Lowering(Form form, std::shared_ptr<const Program> program, std::shared_ptr<const Facts> facts,
             Binding binding)
        : form_(form),
          program_(std::move(program)),
          facts_(std::move(facts)),
          binding_(std::move(binding)),
          image_(std::make_shared<Image>()) {}

    Result<std::shared_ptr<Image>> run() {
        SKEP_CHECK(check_input());
        image_->form = form_;
        image_->fuel = form_ == Form::Sandbox || binding_.fuel;
        image_->hardened = binding_.hardened;
        image_->program = program_;
        image_->raw = program_->type->kind == ProgKind::Raw;
        image_->facts = facts_;
        image_->words = context_words(*program_);
        SKEP_CHECK(bind_maps());
        image_->objects = std::move(binding_.objects);
        if (image_->objects != nullptr)
            image_->object_types = std::make_shared<ObjectTypes>(program_->btf);
        bind_functions();
        image_->slots.resize(program_->insns.size());
        for (uint32_t slot = 0; slot < program_->insns.size(); ++slot) {
            SKEP_CHECK(lower_slot(slot));
        }
        return std::move(image_);
    }

private:
    Result<void> check_input() {
        if (program_ == nullptr || program_->insns.empty() || program_->subprograms.empty())
            return fail(ErrorCode::EmptyProgram, "the program has no instructions");
        if (facts_ == nullptr) facts_ = std::make_shared<Facts>();
        known_ = facts_->complete && facts_->slots.size() == program_->insns.size();
        if (binding_.maps.size() != program_->maps.size())
            return fail(ErrorCode::InvalidArgument,
                        "the program has " + std::to_string(program_->maps.size()) + " maps, but " +
                            std::to_string(binding_.maps.size()) + " were given to it");
        if (binding_.maps.size() > kMaxRunMaps)
            return fail(ErrorCode::LimitExceeded,
                        "the program uses " + std::to_string(binding_.maps.size()) +
                            " maps; at most " + std::to_string(kMaxRunMaps) + " are allowed");
        return {};
    }

    Result<void> bind_maps() {
        image_->maps = std::move(binding_.maps);
        for (const auto& map : image_->maps) {
            image_->map_pointers.push_back(map.get());
            if (!never_reclaims(map->def().type)) image_->reclaims = true;
            const ValueRange range = map->values();
            Region region{.base = range.base,
                          .lo = 0,
                          .kind = static_cast<uint32_t>(range.base != nullptr ? RegionKind::Memory
                                                                              : RegionKind::None),
                          .readable = range.size,
                          .writable = range.size};
            if (ArenaMap* arena = arena_of(map.get());
                arena != nullptr && image_->arena == nullptr) {
                image_->arena = arena;
                arena_region_ =
                    region::kFirstMap + static_cast<uint32_t>(image_->map_regions.size());
                region.lo = static_cast<uint32_t>(arena->user_start());
            }
            // A guest offset has 32 bits.
            constexpr uint64_t kLargest = uint64_t{1} << 32;
            if (form_ == Form::Sandbox && range.size > kLargest)
                return fail(ErrorCode::LimitExceeded,
                            "map " + map->def().name + " has " + std::to_string(range.size) +
                                " bytes of values; a sandbox can address at most 4 GiB");
            const MapDef& def = map->def();
            if (def.frozen || (def.flags & map_flags::kRdonlyProg) != 0) region.writable = 0;
            if ((def.flags & map_flags::kWronlyProg) != 0) region.readable = 0;
            image_->map_regions.push_back(region);
        }
        return {};
    }

    void bind_functions() {
        for (uint32_t i = 0; i < program_->subprograms.size(); ++i) {
            const Subprogram& subprogram = program_->subprograms[i];
            FunctionEntry entry;
            entry.image = image_.get();
            entry.slot = subprogram.first;
            entry.subprogram = i;
            image_->functions.push_back(entry);
            FrameInfo frame = frame_of(*program_, subprogram);
            if (form_ == Form::Unchecked && known_ && i < facts_->subprograms.size()) {
                // Every access is proven to lie in what the analysis saw used.
                const SubprogramFact& fact = facts_->subprograms[i];
                frame.bytes = std::min(frame.bytes, (fact.stack_bytes + 15u) & ~15u);
                frame.zero = frame.bytes != 0 && fact.reads_uninitialised;
            }
            image_->frames.push_back(frame);
        }
    }

    Result<void> lower_slot(uint32_t index) {
        ImageSlot& out = image_->slots[index];
        const Insn& insn = program_->insns[index];
        out.insn = insn;
        if (insn.kind == Kind::Imm64High) {
            out.dead = true;
            return {};
        }
        if (known_ && !facts_->slots[index].reachable) {
            out.dead = true;
            out.trap = TrapCode::BadInstruction;
            return {};
        }
        if (program_->poisoned.contains(index)) {
            out.trap = TrapCode::Poisoned;
            return {};
        }
        switch (insn.kind) {
            case Kind::Jump:
            case Kind::Branch:
            case Kind::MayGoto: lower_jump(index, out); return {};
            case Kind::CallLocal: out.charge = image_->fuel; return {};
            case Kind::Call: return lower_call(index, out);
            case Kind::Imm64: return lower_imm64(index, out);
            case Kind::Load:
            case Kind::Store:
            case Kind::Atomic: return lower_access(index, out);
            case Kind::AddrSpaceCast: return lower_cast(index, out);
            case Kind::Alu:
            case Kind::Neg:
            case Kind::Endian:
            case Kind::Imm64High:
            case Kind::LoadPacket:
            case Kind::Exit: return {};
        }
        return {};
    }

    // A branch that always goes the same way is a jump, or nothing. What it costs does not change.
    void lower_jump(uint32_t index, ImageSlot& out) {
        Insn& insn = out.insn;
        if (form_ == Form::Unchecked && known_ && insn.kind == Kind::Branch) {
            const BranchFact decided = facts_->slots[index].branch;
            if (decided != BranchFact::Unknown) insn.kind = Kind::Jump;
            if (decided == BranchFact::Never) insn.target = static_cast<int32_t>(index) + 1;
        }
        out.charge = image_->fuel && insn.target <= static_cast<int32_t>(index);
    }

    Result<void> lower_call(uint32_t index, ImageSlot& out) {
        const Insn& insn = out.insn;
        if (insn.pseudo_call() != PseudoCall::Helper) {
            lower_kfunc_call(index, out);
            return {};
        }
        const bool in_range = insn.imm >= 0 && insn.imm <= UINT32_MAX;
        const Helper* helper = in_range && binding_.helper
                                   ? binding_.helper(static_cast<uint32_t>(insn.imm))
                                   : nullptr;
        if (helper == nullptr) {
            if (form_ == Form::Unchecked)
                return fail(ErrorCode::UnknownHelper,
                            "no helper has the number " + std::to_string(insn.imm),
                            program_->where(index));
            out.trap = TrapCode::BadHelper;
            return {};
        }
        if (!helper_allowed(*helper, *program_->type, program_->attach_type)) {
            if (form_ == Form::Unchecked)
                return fail(ErrorCode::UnsupportedHelper,
                            "programs of type " + std::string(program_->type->name) +
                                " may not call bpf_" + std::string(helper->name),
                            program_->where(index));
            out.trap = TrapCode::BadHelper;
        }
        out.bound = address_of(helper);
        return {};
    }

    // What runs the kernel function that a slot names, and null where nothing does: only names lead
    // to it. `allowed`: programs of this type may call it; its arguments are this type's too.
    const Helper* kfunc_of(uint32_t index, bool& allowed) const {
        allowed = true;
        const auto external = program_->externs.find(index);
        if (external == program_->externs.end()) return nullptr;
        const std::string_view name = essential_name(external->second.name);
        const ProgType& type = *program_->type;
        if (binding_.host_kfunc) {
            if (const Helper* own = binding_.host_kfunc(name); own != nullptr) {
                allowed = helper_allowed(*own, type, program_->attach_type);
                return own;
            }
        }
        const Kfunc* known = find_kfunc(name);
        if (known == nullptr) return nullptr;
        allowed = kfunc_allowed(*known, type, program_->attach_type);
        return known->run;
    }

    void lower_kfunc_call(uint32_t index, ImageSlot& out) {
        bool allowed = true;
        const Helper* helper = kfunc_of(index, allowed);
        if (helper == nullptr)
            out.trap = TrapCode::Unsupported;
        else if (!allowed)
            out.trap = TrapCode::BadHelper;
        else
            out.bound = address_of(helper);
    }

    Result<void> lower_imm64(uint32_t index, ImageSlot& out) {
        const Insn& insn = out.insn;
        const auto low = static_cast<uint32_t>(insn.imm);
        switch (insn.pseudo_imm()) {
            case PseudoImm::Value: out.bound = static_cast<uint64_t>(insn.imm); return {};
            case PseudoImm::MapFd:
            case PseudoImm::MapIdx:
                SKEP_CHECK(check_map(index, low));
                out.bound = form_ == Form::Sandbox ? map_handle(low)
                                                   : address_of(image_->map_pointers[low]);
                return {};
            case PseudoImm::MapValue:
            case PseudoImm::MapIdxValue: return lower_map_value(index, out);
            case PseudoImm::BtfId: return lower_variable(index, out);
            case PseudoImm::Func: return lower_function(index, out);
        }
        return fail(ErrorCode::BadEncoding, "unknown kind of 64-bit immediate",
                    program_->where(index));
    }

    // A kernel's variable: where the host publishes it, else an address behind which typed loads
    // read zero. A weak one that the kernel lacks reads as null, as in libbpf.
    Result<void> lower_variable(uint32_t index, ImageSlot& out) {
        const auto external = program_->externs.find(index);
        const Btf* btf = binding_.kernel_btf.get();
        const std::string name = external == program_->externs.end() ? "" : external->second.name;
        // A function's address is only good for a test.
        if (bool allowed = true; kfunc_of(index, allowed) != nullptr) {
            out.bound = guest_address(region::kFunction, UINT32_MAX);
            return {};
        }
        uint32_t var = 0;
        if (btf != nullptr)
            var =
                name.empty() ? static_cast<uint32_t>(out.insn.imm) : btf->find(name, BtfKind::Var);
        if (var == 0 || !btf->has(var) || !btf->type(var).is(BtfKind::Var)) {
            if (name.empty() || !external->second.weak) out.trap = TrapCode::Unsupported;
            return {};
        }
        const uint32_t type = btf->resolve(btf->type(var).type());
        if (form_ == Form::Unchecked && !btf->type(type).is_composite()) {
            const uint32_t size = btf->size_of(type).value_or(0);
            constexpr uint32_t kMaxVariable = 1u << 20;
            if (size > kMaxVariable)
                return fail(ErrorCode::LimitExceeded, "kernel variable " + name + " is too large",
                            program_->where(index));
            image_->variables.push_back(std::make_unique<uint64_t[]>(size / 8 + 1));
            out.bound = address_of(image_->variables.back().get());
            return {};
        }
        constexpr uint64_t kUnpublished = 0xffff'a000'0000'0000, kApart = uint64_t{1} << 24;
        if (binding_.symbol) out.bound = binding_.symbol(btf->type(var).name());
        if (out.bound == 0) out.bound = kUnpublished + index * kApart;
        return {};
    }

    // Offsets and user-space addresses of the arena differ in their high half. Where it is not
    // known which accesses are the arena's, its pointers are guest addresses like all others.
    Result<void> lower_cast(uint32_t index, ImageSlot& out) {
        if (image_->arena == nullptr) {
            if (form_ == Form::Unchecked)
                return fail(ErrorCode::UnsupportedInsn, "a cast without an arena",
                            program_->where(index));
            out.trap = TrapCode::BadInstruction;
            return {};
        }
        const bool to_kernel = static_cast<uint32_t>(out.insn.imm) == 1;
        out.bound = image_->arena->user_half();
        if (to_kernel) out.bound = known_ ? 0 : guest_address(arena_region_, 0);
        return {};
    }

    Result<void> check_map(uint32_t index, uint32_t map) const {
        if (map < image_->map_pointers.size()) return {};
        return fail(
            ErrorCode::InvalidArgument,
            "map " + std::to_string(map) + " of " + std::to_string(image_->map_pointers.size()),
            program_->where(index));
    }

    Result<void> lower_map_value(uint32_t index, ImageSlot& out) {
        const auto map = static_cast<uint32_t>(out.insn.imm);
        const auto offset = static_cast<uint32_t>(static_cast<uint64_t>(out.insn.imm) >> 32);
        SKEP_CHECK(check_map(index, map));
        Map& target = *image_->map_pointers[map];
        if (const ArenaMap* arena = arena_of(&target)) {
            out.bound = arena->user_start() + offset;
            return {};
        }
        const auto value = target.direct_value(offset);
        if (!value)
            return fail(ErrorCode::InvalidArgument,
                        "map " + target.def().name + " has no value at offset " +
                            std::to_string(offset) + " that can be addressed directly",
                        program_->where(index));
        const auto from_base = static_cast<uint64_t>(*value - target.values().base);
        out.bound = form_ == Form::Sandbox
                        ? guest_address(region::kFirstMap + map, static_cast<uint32_t>(from_base))
                        : address_of(*value);
        return {};
    }

    Result<void> lower_function(uint32_t index, ImageSlot& out) {
        const auto target = static_cast<uint32_t>(out.insn.target);
        for (const FunctionEntry& entry : image_->functions) {
            if (entry.slot != target) continue;
            out.bound = form_ == Form::Sandbox ? guest_address(region::kFunction, target)
                                               : address_of(&entry);
            return {};
        }
        return fail(ErrorCode::BadJump,
                    "slot " + std::to_string(target) + " is not the start of a subprogram",
                    program_->where(index));
    }

    Result<void> lower_access(uint32_t index, ImageSlot& out) {
        if (form_ == Form::Unchecked) out.access = Access::Proven;
        if (!known_) return {};
        const SlotFact& fact = facts_->slots[index];
        if (form_ == Form::Unchecked && !fact.access_proven)
            return fail(ErrorCode::Internal, "an access of a verified program has no proof",
                        program_->where(index));
        out.memory = fact.memory;
        // The bytes behind r1 of type raw are plain memory.
        const bool raw = program_->type->kind == ProgKind::Raw;
        switch (fact.memory) {
            case Memory::Context:
                if (raw) break;
                out.access = Access::ContextDynamic;
                if (fact.access_proven && out.insn.kind != Kind::Atomic)
                    lower_context(fact.offset, out);
                return {};
            case Memory::Unknown:
                if (raw || form_ == Form::Sandbox) break;
                return lower_merged(index, out);
            case Memory::Btf:
                if (form_ == Form::Unchecked) out.access = Access::ContextDynamic;
                return {};
            case Memory::Arena:
                if (image_->arena == nullptr)
                    return fail(ErrorCode::UnsupportedInsn, "an access to an arena without one",
                                program_->where(index));
                out.access = Access::ContextDynamic;
                return {};
            case Memory::Kptr:
                // The field holds a guest address: a sandbox loads it as it is.
                if (form_ == Form::Unchecked) out.access = Access::ContextDynamic;
                return {};
            // The host's structs have the fields that programs read at the UAPI's offsets.
            case Memory::Socket:
            case Memory::Stack:
            case Memory::Packet:
            case Memory::PacketMeta:
            case Memory::MapValue:
            case Memory::MapKey:
            case Memory::Ringbuf:
            case Memory::Buffer:
            case Memory::Mem: break;
        }
        if (fact.access_proven) out.access = Access::Proven;
        return {};
    }

    // One instruction that reaches several kinds of memory, perhaps the context. Its address says
    // which, as long as the host's struct covers the context's guest addresses.
    Result<void> lower_merged(uint32_t index, ImageSlot& out) {
        const CtxLayout& layout = *program_->type->ctx;
        if (layout.size == 0) return {};
        if (out.insn.kind == Kind::Atomic || layout.is_bytes || layout.host_size < layout.size)
            return fail(ErrorCode::UnsupportedInsn,
                        "one instruction reaches the context and other memory",
                        program_->where(index));
        out.access = Access::ContextDynamic;
        return {};
    }

    // A context access with a constant offset: straight to the host's struct where that is a plain
    // read or write of a stored field, through the table otherwise.
    void lower_context(int32_t offset, ImageSlot& out) {
        const CtxLayout& layout = *program_->type->ctx;
        const unsigned width = bytes_of(out.insn.width);
        if (layout.is_bytes || offset < 0 || out.insn.sign) return;
        const bool is_store = out.insn.kind == Kind::Store;
        const CtxField* field =
            layout.access(static_cast<uint32_t>(offset), width, is_store, program_->attach_type);
        if (field == nullptr) return;
        const uint32_t inside = static_cast<uint32_t>(offset) - field->off;
        switch (field->kind) {
            case CtxFieldKind::Scalar:
                if (inside + width > field->host_size) return;
                out.host_size = static_cast<uint8_t>(width);
                break;
            case CtxFieldKind::PacketStart:
            case CtxFieldKind::PacketEnd:
            case CtxFieldKind::PacketMeta:
                if (field->host_size != sizeof(void*)) return;
                out.host_size = sizeof(void*);
                break;
            default: return;
        }
        out.host_off = field->host_off;
        out.field_shift = static_cast<uint8_t>(inside);
        out.field_kind = static_cast<uint8_t>(field->kind);
        out.access = Access::ContextField;
    }

    Form form_;
    std::shared_ptr<const Program> program_;
    std::shared_ptr<const Facts> facts_;
    Binding binding_;
    std::shared_ptr<Image> image_;
    bool known_ = false;
    uint32_t arena_region_ = 0;
};

}  // namespace

Result<std::shared_ptr<Image>> lower_checked(std::shared_ptr<const Program> program,
                                             std::shared_ptr<const Facts> facts, Binding binding) {
    return Lowering(Form::Sandbox, std::move(program), std::move(facts), std::move(binding)).run();
}

Result<std::shared_ptr<Image>> lower_unchecked(std::shared_ptr<const Program> program,
                                               std::shared_ptr<const Facts> facts,
                                               Binding binding) {
    return Lowering(Form::Unchecked, std::move(program), std::move(facts), std::move(binding))
        .run();
}

Result<std::shared_ptr<Image>> lower(const VerifiedProgram& program, Binding binding) {
    if (!program) return fail(ErrorCode::InvalidArgument, "the program was not verified");
    return lower_unchecked(program.shared_program(), program.shared_facts(), std::move(binding));
}

}  // namespace skep
