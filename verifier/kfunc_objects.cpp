// Kernel functions on objects that programs allocate, on lists and trees of them, and on arenas:
// the rules that their prototypes do not say.
#include "verifier/analyzer.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {

// Called for arguments of these types and suffixes; the others never get here.
bool Analyzer::object_argument(KfuncCall& call, unsigned) {
    return unsupported(ErrorCode::UnsupportedKfunc,
                       "calls kernel function %s, which works on objects that programs allocate",
                       call.ref.name.c_str());
}

// Sets `handled` to false where the result follows from the prototype.
bool Analyzer::object_result(KfuncCall& call, Cell&, bool& handled) {
    handled = false;
    if (call.kfunc.special < KfuncSpecial::ObjNew) return true;
    return unsupported(ErrorCode::UnsupportedKfunc,
                       "calls kernel function %s, which works on objects that programs allocate",
                       call.ref.name.c_str());
}

bool Analyzer::start_object_callback(KfuncCall& call) {
    return unsupported(ErrorCode::UnsupportedKfunc, "calls kernel function %s",
                       call.ref.name.c_str());
}

}  // namespace skep::verifier
