// The stack frame, byte by byte.
//
// Each byte has a tag; a spilled value keeps its cell in the granule (4 bytes) where it starts. So
// 4-byte halves of a slot are tracked apart: `*(u32 *)(r10 - 4) = 3` is a constant map key.
// Privileged Linux lets programs read bytes that were never written; strict does not.
#include <algorithm>

#include "verifier/analyzer.hpp"

namespace skep::verifier {
namespace {

// The value that covers byte `b` of the chunk: its granule, or -1.
int spill_of(const StackChunk& chunk, unsigned b) {
    const unsigned g = b / kGranule;
    if (chunk.sizes[g] != 0) return static_cast<int>(g);
    if (g % 2 == 1 && chunk.sizes[g - 1] == 8) return static_cast<int>(g - 1);
    return -1;
}

bool is_special(Tag tag) { return tag == Tag::Dynptr || tag == Tag::Iterator || tag == Tag::Irq; }

// Forgets the value whose cell is in granule g; bytes that stay are numbers.
void break_spill(StackChunk& chunk, unsigned g) {
    const unsigned size = chunk.sizes[g];
    chunk.sizes[g] = 0;
    chunk.cells[g] = Cell{};
    for (unsigned i = 0; i < size; ++i)
        if (chunk.tags[g * kGranule + i] == Tag::Spill) chunk.tags[g * kGranule + i] = Tag::Misc;
}

}  // namespace

Tag Analyzer::tag_at(const State& state, unsigned frame, int off) const {
    const auto [c, b] = stack_byte(off);
    const StackChunk* chunk = state.chunk(frame, c);
    return chunk == nullptr ? Tag::Invalid : chunk->tags[b];
}

bool Analyzer::stack_bounds(const Cell& cell, unsigned reg, int64_t off, uint64_t size, bool store,
                            int64_t& low, int64_t& high) {
    const Scalar& variable = num(cell);
    const char* what = store ? "write to" : "read from";
    if (variable.is_const()) {
        low = high = off + cell.off + static_cast<int64_t>(variable.value());
    } else {
        if (variable.smax >= kMaxVarOff || variable.smin <= -kMaxVarOff)
            return reject(ErrorCode::UnboundedOffset,
                          "invalid unbounded variable-offset %s stack R%u: r%u is fp%+lld plus %s",
                          what, reg, reg, static_cast<long long>(off + cell.off),
                          to_string(variable).c_str());
        low = off + cell.off + variable.smin;
        high = off + cell.off + variable.smax;
    }
    if (size == 0) size = 1;
    if (low < -static_cast<int64_t>(kStackBytes) || high + static_cast<int64_t>(size) > 0)
        return reject(ErrorCode::StackOutOfBounds,
                      "invalid %s stack R%u off=%lld size=%llu: the frame is fp-512 to fp-1", what,
                      reg, static_cast<long long>(low), static_cast<unsigned long long>(size));
    uint16_t& deepest = frame_bytes_[st().frame(cell.object).subprogram];
    deepest = std::max(deepest, static_cast<uint16_t>(-low));
    return true;
}

bool Analyzer::access_stack(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                            const Cell* value, Cell* out) {
    int64_t low = 0, high = 0;
    if (!stack_bounds(cell, reg, off, size, store, low, high)) return false;
    const unsigned frame = cell.object;
    if (low == high || SKEP_MUTANT(VariableStackIsFixed)) {
        if (store) return stack_write(frame, static_cast<int>(low), size, value);
        return out == nullptr || stack_read(frame, static_cast<int>(low), size, *out);
    }
    const int end = static_cast<int>(high) + static_cast<int>(size);
    if (store) return stack_write_variable(frame, static_cast<int>(low), end, value, false);
    return out == nullptr || stack_read_variable(frame, static_cast<int>(low), end, *out);
}

bool Analyzer::stack_read(unsigned frame, int off, unsigned size, Cell& out) {
    const auto [c, b] = stack_byte(off);
    const StackChunk* chunk = st().chunk(frame, c);
    if (chunk == nullptr) {
        if (strict())
            return reject(ErrorCode::UninitStack,
                          "invalid read from stack off %d+0 size %u: nothing "
                          "was written there",
                          off, size);
        out = loaded(size);
        return true;
    }
    const int g = chunk->tags[b] == Tag::Spill ? spill_of(*chunk, b) : -1;
    if (g >= 0) {
        const Cell& cell = chunk->cells[static_cast<unsigned>(g)];
        const unsigned spilled = chunk->sizes[static_cast<unsigned>(g)];
        const unsigned start = static_cast<unsigned>(g) * kGranule;
        if (start == b && spilled == size) {
            out = cell;
            if (SKEP_MUTANT(FillsForgetPrecision) && cell.is_scalar()) out.ref = provenance_.make();
            return true;
        }
        if (!cell.is_scalar())
            return reject(ErrorCode::StackOutOfBounds,
                          "invalid size of register fill: %u bytes of a "
                          "spilled %s",
                          size, name_of_cell(cell).c_str());
        if (b + size <= start + spilled) {
            // Part of a number: little-endian bytes b-start and up. Linux knows only the low ones,
            // and 0.
            if (!extended() && b % 8 != 0 && !num(cell).is_const(0)) {
                out = loaded(size);
                return true;
            }
            const uint32_t moved = b == start ? cell.scalar
                                              : intern(alu(AluOp::Rsh, true, false, num(cell),
                                                           Scalar::constant((b - start) * 8)));
            const uint32_t part = pool_.zero_extend(moved, size * 8);
            const bool same = b == start && part == cell.scalar;
            out = interned(part, cell.ref);
            if (same) out.id = cell.id, out.off = cell.off, out.flags = cell.flags;
            return true;
        }
    }
    // A mix of bytes.
    uint64_t value = 0;
    bool all_known = true;
    uint32_t from = 0, from2 = 0;
    for (unsigned i = 0; i < size; ++i) {
        const Tag tag = chunk->tags[b + i];
        if (is_special(tag))
            return reject(tag == Tag::Dynptr ? ErrorCode::BadDynptr : ErrorCode::BadIterator,
                          "invalid read from stack off %d+%u size %u: %s lives there", off, i, size,
                          tag == Tag::Dynptr ? "a dynptr" : "an iterator");
        if (tag == Tag::Invalid && strict())
            return reject(ErrorCode::UninitStack,
                          "invalid read from stack off %d+%u size %u: that "
                          "byte was never written",
                          off, i, size);
        if (tag == Tag::Spill) {
            const auto g2 = static_cast<unsigned>(spill_of(*chunk, b + i));
            const Cell& cell = chunk->cells[g2];
            if (!cell.is_scalar())
                return reject(ErrorCode::StackOutOfBounds,
                              "invalid size of register fill: part of a "
                              "spilled %s",
                              name_of_cell(cell).c_str());
            if (!num(cell).is_const()) {
                all_known = false;
                continue;
            }
            if (cell.ref != from && cell.ref != from2) {
                if (from == 0)
                    from = cell.ref;
                else if (from2 == 0)
                    from2 = cell.ref;
                else
                    from2 = provenance_.make(from2, cell.ref);
            }
            value |= (num(cell).value() >> ((b + i - g2 * kGranule) * 8) & 0xff) << (i * 8);
        } else if (tag != Tag::Zero) {
            all_known = false;
        }
    }
    out = all_known ? number(Scalar::constant(value), from, from2) : loaded(size);
    return true;
}

bool Analyzer::spoil(unsigned frame, int low, int high) {
    if (SKEP_MUTANT(StoresSpareObjects)) return true;
    const auto [first, from] = stack_byte(low);
    if (stack_byte(high - 1).chunk == first) {
        const StackChunk* chunk = st().chunk(frame, first);
        const auto* tags = chunk == nullptr ? nullptr : chunk->tags.data() + from;
        if (tags == nullptr || std::none_of(tags, tags + (high - low), is_special)) return true;
    }
    for (int off = low; off < high; ++off) {
        const auto [c, b] = stack_byte(off);
        const StackChunk* chunk = st().chunk(frame, c);
        if (chunk == nullptr || !is_special(chunk->tags[b])) continue;
        if (!spoil_special(frame, off, chunk->tags[b])) return false;
    }
    return true;
}

bool Analyzer::stack_write(unsigned frame, int off, unsigned size, const Cell* value) {
    if (value != nullptr && value->type == CellType::Stack && frame + 1 != st().depth())
        return reject(ErrorCode::PointerLeak,
                      "cannot spill pointers to stack into stack frame of the caller");
    if (!spoil(frame, off, off + static_cast<int>(size))) return false;
    const auto [c, b] = stack_byte(off);
    StackChunk& chunk = st().own_chunk(frame, c);
    // Values that the write covers only in part lose their cells. Of a number that is wider, the
    // granule that is not touched may be kept.
    for (unsigned i = b / kGranule; i * kGranule < b + size; ++i) {
        const int g = spill_of(chunk, std::max(i * kGranule, b));
        if (g >= 0) break_spill(chunk, static_cast<unsigned>(g));
    }
    const bool pointer_value = value != nullptr && !value->is_scalar();
    if (pointer_value && size != 8)
        return reject(ErrorCode::StackOutOfBounds,
                      "invalid size of register spill: %u bytes of a %s", size,
                      name_of_cell(*value).c_str());
    Tag tag = Tag::Misc;
    // Linux keeps numbers only at the start of an 8-byte slot.
    const bool keeps = b % (extended() ? kGranule : 8) == 0;
    if (value != nullptr && keeps && (size != 8 || b % 8 == 0)) {
        Cell cell = *value;
        if (cell.is_scalar() && size < 8) {
            const uint32_t cut = pool_.zero_extend(cell.scalar, size * 8);
            if (cut != cell.scalar) {
                const Cell whole = cell;
                cell = interned(cut, cell.ref);
                if (SKEP_MUTANT(NarrowSpillsKeepLinks)) cell.id = whole.id, cell.off = whole.off;
            }
        }
        if (extended() && cell.is_scalar() && num(cell).is_const(0) && value->ref == 0) {
            tag = Tag::Zero;
        } else {
            // An immediate becomes a value that proofs may ask for.
            if (cell.is_scalar() && cell.ref == 0) cell.ref = provenance_.make();
            chunk.sizes[b / kGranule] = static_cast<uint8_t>(size);
            chunk.cells[b / kGranule] = cell;
            tag = Tag::Spill;
        }
    } else if (value != nullptr && value->is_scalar() && num(*value).is_const(0)) {
        need(*value);
        tag = Tag::Zero;
    }
    std::fill_n(chunk.tags.begin() + b, size, tag);
    return true;
}

bool Analyzer::stack_write_variable(unsigned frame, int low, int end, const Cell* value,
                                    bool certain) {
    if (!spoil(frame, low, end)) return false;
    const bool zero = value != nullptr && value->is_scalar() && num(*value).is_const(0);
    bool relied_on_zero = false;
    for (int off = low; off < end; ++off) {
        const auto [c, b] = stack_byte(off);
        StackChunk& chunk = st().own_chunk(frame, c);
        const int g = chunk.tags[b] == Tag::Spill ? spill_of(chunk, b) : -1;
        if (g >= 0) {
            const Cell& cell = chunk.cells[static_cast<unsigned>(g)];
            if (strict() && !cell.is_scalar())
                return reject(ErrorCode::PointerLeak,
                              "spilled pointer might be overwritten at fp%d", off);
            if (zero && cell.is_scalar() && num(cell).is_const(0)) {
                relied_on_zero = true;
                continue;
            }
            break_spill(chunk, static_cast<unsigned>(g));
        }
        if (zero && chunk.tags[b] == Tag::Zero) {
            relied_on_zero = true;
            continue;
        }
        // What may have been written is not known to be.
        if (strict() && !certain && chunk.tags[b] == Tag::Invalid) continue;
        chunk.tags[b] = Tag::Misc;
    }
    if (relied_on_zero) need(*value);
    return true;
}

bool Analyzer::stack_read_variable(unsigned frame, int low, int end, Cell& out) {
    bool zero = true;
    for (int off = low; off < end; ++off) {
        const auto [c, b] = stack_byte(off);
        const StackChunk* chunk = st().chunk(frame, c);
        const Tag tag = chunk == nullptr ? Tag::Invalid : chunk->tags[b];
        if (is_special(tag) || (tag == Tag::Invalid && strict()))
            return reject(ErrorCode::UninitStack,
                          "invalid read from stack: byte fp%d may be read "
                          "and is not plain data",
                          off);
        if (tag == Tag::Spill) {
            const Cell& cell = chunk->cells[static_cast<unsigned>(spill_of(*chunk, b))];
            if (!cell.is_scalar() && strict())
                return reject(ErrorCode::PointerLeak,
                              "a pointer spilled at fp%d may be read as a "
                              "number",
                              off);
            zero = false;
        } else if (tag != Tag::Zero) {
            zero = false;
        }
    }
    out = zero ? constant(0) : loaded(8);
    return true;
}

bool Analyzer::stack_range(const Cell& cell, unsigned reg, uint64_t size, bool writes, bool uninit,
                           bool zero_size) {
    int64_t low = 0, high = 0;
    if (size == 0) {
        if (zero_size) return extended() || stack_bounds(cell, reg, 0, 0, writes, low, high);
        return reject(ErrorCode::BadArgumentSize, "R%u invalid zero-sized %s", reg,
                      writes ? "write" : "read");
    }
    if (size > kStackBytes)
        return reject(ErrorCode::StackOutOfBounds, "invalid %s stack R%u off=%d size=%llu",
                      writes ? "write to" : "read from", reg, cell.off,
                      static_cast<unsigned long long>(size));
    if (!stack_bounds(cell, reg, 0, size, writes, low, high)) return false;
    const int end = static_cast<int>(high) + static_cast<int>(size);
    const unsigned frame = cell.object;
    if (strict() || (uninit && low != high)) uninit = uninit && low == high;
    for (int off = static_cast<int>(low); off < end; ++off) {
        const Tag tag = tag_at(st(), frame, off);
        // Linux lets helpers overwrite an iterator (which is leaked then), never a dynptr.
        if (tag == Tag::Dynptr || (is_special(tag) && !uninit))
            return reject(tag == Tag::Dynptr ? ErrorCode::BadDynptr : ErrorCode::BadIterator,
                          "invalid read from stack R%u off %d+%d size %llu: %s lives there", reg,
                          static_cast<int>(low), off - static_cast<int>(low),
                          static_cast<unsigned long long>(size),
                          tag == Tag::Dynptr ? "a dynptr" : "an iterator");
        if (tag == Tag::Invalid && !uninit && strict())
            return reject(ErrorCode::UninitStack,
                          "invalid read from stack R%u off %d+%d size %llu: "
                          "that byte was never written",
                          reg, static_cast<int>(low), off - static_cast<int>(low),
                          static_cast<unsigned long long>(size));
    }
    if (!writes) return true;
    return stack_write_variable(frame, static_cast<int>(low), end, nullptr, low == high && uninit);
}

// The little-endian number in [off, off + size), if its bytes are known. `precise`: a proof will
// rest on it.
bool Analyzer::stack_number(unsigned frame, int off, unsigned size, std::optional<uint64_t>& value,
                            bool precise) {
    value.reset();
    uint64_t result = 0;
    for (unsigned i = 0; i < size; ++i) {
        const auto [c, b] = stack_byte(off + static_cast<int>(i));
        const StackChunk* chunk = st().chunk(frame, c);
        if (chunk == nullptr) return true;
        const Tag tag = chunk->tags[b];
        if (tag == Tag::Zero) continue;
        if (tag != Tag::Spill) return true;
        const auto g = static_cast<unsigned>(spill_of(*chunk, b));
        const Cell& cell = chunk->cells[g];
        // Linux takes a key from a spill of just its size, at the start of a slot.
        if (!extended() && (chunk->sizes[g] != size || b - i != g * kGranule)) return true;
        if (!cell.is_scalar() || !num(cell).is_const()) return true;
        result |= (num(cell).value() >> ((b - g * kGranule) * 8) & 0xff) << (i * 8);
    }
    if (precise)
        for (unsigned i = 0; i < size; ++i) {
            const auto [c, b] = stack_byte(off + static_cast<int>(i));
            const StackChunk* chunk = st().chunk(frame, c);
            if (chunk->tags[b] == Tag::Spill)
                need(chunk->cells[static_cast<unsigned>(spill_of(*chunk, b))]);
        }
    value = result;
    return true;
}

// The number of 8 bytes whose upper half is at `off`. That half of a small number is 0.
const Cell* Analyzer::number_below(unsigned frame, int off) const {
    const auto [c, b] = stack_byte(off);
    const StackChunk* chunk = st().chunk(frame, c);
    if (chunk == nullptr || b % 8 != kGranule || chunk->tags[b] != Tag::Spill) return nullptr;
    const unsigned g = b / kGranule - 1;
    if (chunk->sizes[g] != 8 || !chunk->cells[g].is_scalar()) return nullptr;
    return &chunk->cells[g];
}

}  // namespace skep::verifier
