// Types as C writes them. Declarators read inside out, so a name is built from a prefix, which
// grows to the left ("const struct s *"), and a suffix, which grows to the right ("[4]", "(int)").

#include "vm/btf/btf.hpp"

namespace skep {
namespace {

constexpr unsigned kMaxNameDepth = 24;
constexpr size_t kMaxNameBytes = 512;

std::string keyword(const BtfType& t) {
    switch (t.kind()) {
        case BtfKind::Struct: return "struct ";
        case BtfKind::Union: return "union ";
        case BtfKind::Enum:
        case BtfKind::Enum64: return "enum ";
        case BtfKind::Fwd: return t.kind_flag() ? "union " : "struct ";
        case BtfKind::Void:
        case BtfKind::Int:
        case BtfKind::Ptr:
        case BtfKind::Array:
        case BtfKind::Typedef:
        case BtfKind::Volatile:
        case BtfKind::Const:
        case BtfKind::Restrict:
        case BtfKind::Func:
        case BtfKind::FuncProto:
        case BtfKind::Var:
        case BtfKind::Datasec:
        case BtfKind::Float:
        case BtfKind::DeclTag:
        case BtfKind::TypeTag: return "";
    }
    return "";
}

}  // namespace

// Appends the type; `out` may already hold an outer declarator's marker. Depth and length bounded:
// a prototype's parameters could otherwise name each other without end through pointers.
void Btf::append_name(std::string& out, uint32_t id, unsigned depth) const {
    std::string qualifiers, declarator;
    for (unsigned step = 0; step < kMaxNameDepth; ++step) {
        const BtfType t = type(id);
        if (depth > kMaxNameDepth || out.size() + declarator.size() > kMaxNameBytes) {
            out += "...";
            return;
        }
        const bool pointer_outside = !declarator.empty() && declarator[0] == '*';
        switch (t.kind()) {
            case BtfKind::Const:
            case BtfKind::Volatile:
            case BtfKind::Restrict:
                // A qualifier of a pointer stands right of its star.
                if (type(t.type()).is(BtfKind::Ptr))
                    declarator = std::string(name_of(t.kind())) + (declarator.empty() ? "" : " ") +
                                 declarator;
                else
                    qualifiers += std::string(name_of(t.kind())) + " ";
                id = t.type();
                continue;
            case BtfKind::TypeTag: id = t.type(); continue;
            case BtfKind::Ptr:
                declarator = "*" + declarator;
                id = t.type();
                continue;
            case BtfKind::Array:
                if (pointer_outside) declarator = "(" + declarator + ")";
                declarator += "[" + std::to_string(t.array().count) + "]";
                id = t.array().element;
                continue;
            case BtfKind::FuncProto: {
                declarator = "(" + declarator + ")(";
                for (uint32_t i = 0; i < t.count(); ++i) {
                    if (i != 0) declarator += ", ";
                    if (t.param(i).type == 0 && i + 1 == t.count())
                        declarator += "...";
                    else
                        append_name(declarator, t.param(i).type, depth + 1 + step);
                }
                declarator += t.count() == 0 ? "void)" : ")";
                id = t.type();
                continue;
            }
            case BtfKind::Void: out += qualifiers + "void"; break;
            case BtfKind::Int:
            case BtfKind::Struct:
            case BtfKind::Union:
            case BtfKind::Enum:
            case BtfKind::Fwd:
            case BtfKind::Typedef:
            case BtfKind::Func:
            case BtfKind::Var:
            case BtfKind::Datasec:
            case BtfKind::Float:
            case BtfKind::DeclTag:
            case BtfKind::Enum64:
                out += qualifiers + keyword(t);
                out += t.name().empty() ? "(anonymous)" : std::string(t.name());
                break;
        }
        if (!declarator.empty()) {
            if (declarator[0] != '[') out += ' ';
            out += declarator;
        }
        return;
    }
    out += "...";
}

std::string Btf::type_name(uint32_t id) const {
    std::string out;
    append_name(out, id, 0);
    return out;
}

}  // namespace skep
