// Cases of tests/verifier/cases/*.test: a program, and the verdict on it.
//
//   == title
//   -- prog xdp [sleepable] [nongpl]   program type, as `skep types` or section names have it;
//      [untyped]                       what names callbacks gets types for its functions, but here
//   -- maps                            one per line, as --raw-map has them
//     type=array,key=4,value=48,entries=1
//   -- asm
//     r0 = 0
//     call kfunc bpf_rcu_read_lock    kernel functions by name
//     exit
//   -- verdict accepted                or: rejected CODE; asked of the running kernel too
//   -- extended accepted               the verdict under that policy, where it differs (strict too)
//   -- btf                             analysed with the running kernel's types; skipped without
//   -- kernel WHY                      why Linux's verdict is another one
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>

#include "tests/support/test_file.hpp"
#include "tests/verifier/function_types.hpp"
#include "vm/isa/insn.hpp"
#include "vm/prog/program.hpp"

namespace skep::test {

struct VerdictCase {
    std::string title;
    std::vector<RawInsn> slots;
    std::map<uint32_t, std::string> kfuncs;  // by slot of the call
    TypeChoice type;
    std::vector<MapDef> maps;
    std::optional<FunctionTypes> functions;
    bool gpl = true, sleepable = false;
    std::string attach_target;  // behind the slash of a section name such as tp_btf/sched_switch
    // The program, or why its slots do not decode.
    Result<Program> program = fail(ErrorCode::EmptyProgram, "");
};

// Errors: what is wrong with the case's text.
Result<VerdictCase> read_verdict_case(const TestCase& test);

}  // namespace skep::test
