// Errors, names of things, and the log in the format of Linux's verifier.
#include <algorithm>
#include <cstdio>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "vm/isa/disasm.hpp"

namespace skep::verifier {
namespace {

std::string format_text(const char* format, va_list args) {
    va_list copy;
    va_copy(copy, args);
    const int length = std::vsnprintf(nullptr, 0, format, copy);
    va_end(copy);
    std::string text(static_cast<size_t>(std::max(length, 0)), '\0');
    std::vsnprintf(text.data(), text.size() + 1, format, args);
    return text;
}

std::string_view hint_of(ErrorCode code) {
    switch (code) {
#define SKEP_HINT(Code, text) \
    case ErrorCode::Code: return text;
#include "verifier/hints.def"
        default: return {};
    }
}

}  // namespace

bool Analyzer::reject(ErrorCode code, const char* format, ...) {
    va_list args;
    va_start(args, format);
    end(Verdict::Rejected, code, format, args);
    va_end(args);
    return false;
}

bool Analyzer::unsupported(ErrorCode code, const char* format, ...) {
    va_list args;
    va_start(args, format);
    end(Verdict::Unsupported, code, format, args);
    va_end(args);
    return false;
}

// The first failure is the one that is reported.
void Analyzer::end(Verdict verdict, ErrorCode code, const char* format, va_list args) {
    if (failed_) return;
    failed_ = true;
    result_.error.message = format_text(format, args);
    result_.verdict = verdict;
    result_.error.code = code;
    fill_error();
}

void Analyzer::fill_error() {
    const uint32_t slot = std::min<uint32_t>(
        slot_, program_.insns.empty() ? 0 : static_cast<uint32_t>(program_.insns.size() - 1));
    result_.error.where = program_.where(slot);
    result_.hint = hint_of(result_.error.code);
    if (options_.log_level != 0) log_line("%s\n", result_.error.message.c_str());
    // The branches on the way here, oldest first.
    if (!record_trail_) return;
    std::vector<uint32_t> steps = trail_;
    std::reverse(steps.begin(), steps.end());
    for (const Checkpoint* at = parent_; at != nullptr && steps.size() < kMaxPathSteps;
         at = at->parent)
        steps.insert(steps.end(), at->trail.rbegin(), at->trail.rend());
    if (steps.size() > kMaxPathSteps) steps.resize(kMaxPathSteps);
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        PathStep& out = result_.path.emplace_back();
        out.slot = *step >> 1;
        out.taken = (*step & 1) != 0;
        out.text = disassemble(insn_at(out.slot), out.slot);
    }
}

void Analyzer::relax(const char* what) {
    if (std::ranges::find(result_.relaxations, what) == result_.relaxations.end())
        result_.relaxations.emplace_back(what);
}

void Analyzer::beyond(const char* what) {
    if (std::ranges::find(result_.beyond_linux, what) == result_.beyond_linux.end())
        result_.beyond_linux.emplace_back(what);
}

std::string Analyzer::name_of_cell(const Cell& cell) const {
    std::string name;
    switch (cell.type) {
        case CellType::NotInit: return "?";
        case CellType::Scalar: return "scalar";
        case CellType::Context: name = "ctx"; break;
        case CellType::MapHandle: name = "map_ptr"; break;
        case CellType::MapValue: name = "map_value"; break;
        case CellType::MapKey: name = "map_key"; break;
        case CellType::Stack: name = "fp"; break;
        case CellType::PacketMeta: name = "pkt_meta"; break;
        case CellType::Packet: name = "pkt"; break;
        case CellType::PacketEnd: name = "pkt_end"; break;
        case CellType::FlowKeys: name = "flow_keys"; break;
        case CellType::Socket: name = "sock"; break;
        case CellType::SockCommon: name = "sock_common"; break;
        case CellType::TcpSock: name = "tcp_sock"; break;
        case CellType::XdpSock: name = "xdp_sock"; break;
        case CellType::TpBuffer: name = "tp_buffer"; break;
        case CellType::Btf: {
            if ((cell.flags & flag::kPercpu) != 0) name = "percpu_";
            if ((cell.flags & flag::kRcu) != 0) name += "rcu_";
            if ((cell.flags & flag::kUntrusted) != 0) name += "untrusted_";
            if ((cell.flags & flag::kTrusted) != 0) name += "trusted_";
            name += "ptr_";
            break;
        }
        case CellType::Mem:
            name = (cell.flags & flag::kRingbuf) != 0 ? "ringbuf_mem" : "mem";
            if ((cell.flags & flag::kReadOnly) != 0) name = "rdonly_" + name;
            break;
        case CellType::Buffer:
            name = (cell.flags & flag::kReadOnly) != 0 ? "rdonly_buf" : "rdwr_buf";
            break;
        case CellType::Function: name = "func"; break;
        case CellType::DynptrHandle: name = "dynptr_ptr"; break;
        case CellType::Arena: name = "arena"; break;
        case CellType::DynptrSlot: name = "dynptr"; break;
        case CellType::IteratorSlot: name = "iter"; break;
        case CellType::IrqSlot: name = "irq"; break;
    }
    if (cell.maybe_null()) {
        if (cell.type == CellType::Btf)
            name += "or_null_";
        else
            name += "_or_null";
    }
    return name;
}

std::string Analyzer::print_cell(const Cell& cell) const {
    if (cell.is_scalar()) {
        std::string text = to_string(num(cell));
        if (cell.id != 0 && text.starts_with("scalar("))
            text.insert(7, "id=" + std::to_string(cell.id) + (text == "scalar()" ? "" : ","));
        return text;
    }
    std::string text = name_of_cell(cell);
    std::string inner;
    const auto add_part = [&](const std::string& part) {
        inner += (inner.empty() ? "" : ",") + part;
    };
    if (cell.id != 0) add_part("id=" + std::to_string(cell.id));
    if (cell.ref != 0) add_part("ref_obj_id=" + std::to_string(cell.ref));
    if (cell.type == CellType::Stack) {
        text += std::to_string(cell.off);
        if (cell.object != 0) add_part("frame=" + std::to_string(cell.object));
    } else if (cell.off != 0) {
        add_part("off=" + std::to_string(cell.off));
    }
    if (cell.is_packet()) add_part("r=" + std::to_string(cell.object));
    if (cell.type == CellType::MapHandle || cell.type == CellType::MapValue ||
        cell.type == CellType::MapKey) {
        const MapDef& map = map_of(cell);
        if (!map.name.empty()) add_part("map=" + map.name);
        add_part("ks=" + std::to_string(map.key_size));
        add_part("vs=" + std::to_string(map.value_size));
    }
    if (cell.is_pointer() && !num(cell).is_const(0)) {
        const std::string variable = to_string(num(cell));
        if (variable.starts_with("scalar("))
            add_part(variable.substr(7, variable.size() - 8));
        else
            add_part("imm=" + variable);
    }
    return text + "(" + inner + ")";
}

void Analyzer::log_line(const char* format, ...) {
    if (result_.log.size() >= options_.budgets.log_bytes) return;
    va_list args;
    va_start(args, format);
    result_.log += format_text(format, args);
    va_end(args);
    if (result_.log.size() > options_.budgets.log_bytes)
        result_.log.resize(options_.budgets.log_bytes);
}

void Analyzer::log_state(const State& state) {
    std::string line;
    for (unsigned r = 0; r < kRegisters; ++r) {
        const Cell& cell = state.reg(r);
        if (cell.type == CellType::NotInit) continue;
        line += " R" + std::to_string(r) + "=" + print_cell(cell);
    }
    for (int off = -8; off >= -static_cast<int>(kStackBytes); off -= 8) {
        const auto [c, b] = stack_byte(off);
        const StackChunk* chunk = state.chunk(state.depth() - 1, c);
        if (chunk == nullptr) continue;
        std::string tags;
        for (unsigned i = 8; i-- > 0;) tags += "?m0rdii"[static_cast<unsigned>(chunk->tags[b + i])];
        if (tags == "????????") continue;
        line += " fp" + std::to_string(off) + "=";
        if (chunk->sizes[b / kGranule] == 8)
            line += print_cell(chunk->cells[b / kGranule]);
        else
            line += tags;
    }
    log_line("%s%s\n",
             state.depth() > 1 ? ("frame" + std::to_string(state.depth() - 1) + ":").c_str() : "",
             line.c_str());
}

void Analyzer::log_insn(uint32_t slot) {
    if (result_.log.size() >= options_.budgets.log_bytes) return;
    if (const SourceLine* line = program_.line_of(slot); line != nullptr && line->slot == slot)
        log_line("; %s @ %s:%u\n", std::string(line->text).c_str(), std::string(line->file).c_str(),
                 line->line);
    log_line("%u:", slot);
    log_state(current_);
    DisasmNames names;
    names.helper = [this](int32_t id) {
        const Helper* helper = helper_with(static_cast<uint32_t>(id));
        return helper == nullptr ? std::string()
                                 : "bpf_" + std::string(helper->name) + "#" + std::to_string(id);
    };
    log_line("%u: (%02x) %s\n", slot, insn_at(slot).opcode,
             disassemble(insn_at(slot), slot, names).c_str());
}

}  // namespace skep::verifier
