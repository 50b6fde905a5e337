// Assembler text -> image -> one run by the interpreter, in either form.
#pragma once

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/context.hpp>

#ifdef SKEP_HAS_JIT
#include "jit/jit.hpp"
#endif
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"
#include "vm/run/lower.hpp"
#include "vm/run/run_area.hpp"
#include "vm/run/threaded.hpp"

namespace skep::test {

struct EngineResult {
    uint64_t r0 = 0;
    TrapCode trap = TrapCode::None;
    uint32_t slot = 0;
    uint64_t fuel_used = 0;
};

// A program of type raw whose subprograms start where local calls and function addresses say.
inline std::shared_ptr<const Program> program_of(std::vector<Insn> insns) {
    auto program = std::make_shared<Program>();
    program->name = "main";
    program->type = find_prog_type(ProgKind::Raw);
    program->gpl_compatible = true;
    std::vector<uint32_t> starts{0};
    for (const Insn& insn : insns) {
        if (insn.kind == Kind::CallLocal ||
            (insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::Func))
            starts.push_back(static_cast<uint32_t>(insn.target));
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    for (size_t i = 0; i < starts.size(); ++i) {
        const auto end =
            i + 1 < starts.size() ? starts[i + 1] : static_cast<uint32_t>(insns.size());
        program->subprograms.push_back(
            {.name = "f" + std::to_string(i), .first = starts[i], .count = end - starts[i]});
    }
    program->insns = std::move(insns);
    return program;
}

inline std::shared_ptr<const Program> program_of(std::string_view text) {
    auto raw = assemble(text);
    if (!raw) {
        ADD_FAILURE() << raw.error().to_string();
        return nullptr;
    }
    auto insns = decode(*raw);
    if (!insns) {
        ADD_FAILURE() << insns.error().to_string();
        return nullptr;
    }
    return program_of(*std::move(insns));
}

enum class Runs : uint8_t { Interpreted, Native };

inline Result<std::shared_ptr<const Code>> build_code(const Image& image, Runs runs) {
    if (runs == Runs::Interpreted) return ThreadedCode::build(image);
#ifdef SKEP_HAS_JIT
    auto arena = jit::CodeArena::create(size_t{16} << 20);
    if (!arena) return std::unexpected(arena.error());
    return jit::compile(image, *arena);
#else
    return fail(ErrorCode::NoJit, "built without native code");
#endif
}

// An image with the code that runs it.
struct Loaded {
    std::shared_ptr<Image> image;
    std::shared_ptr<const Code> code;
};

inline Loaded load(Form form, std::shared_ptr<const Program> program, Binding binding = {},
                   Runs runs = Runs::Interpreted) {
    auto image = form == Form::Sandbox
                     ? lower_checked(std::move(program), nullptr, std::move(binding))
                     : lower_unchecked(std::move(program), nullptr, std::move(binding));
    if (!image) {
        ADD_FAILURE() << image.error().to_string();
        return {};
    }
    Result<std::shared_ptr<const Code>> code = build_code(**image, runs);
    // Programs that native code cannot follow are the interpreter's.
    if (!code && runs == Runs::Native && code.error().code == ErrorCode::NoJit) {
        code = build_code(**image, Runs::Interpreted);
    }
    if (!code) {
        ADD_FAILURE() << code.error().to_string();
        return {};
    }
    (*image)->code = code->get();
    return {*image, *std::move(code)};
}

inline EngineResult run(RunArea& area, const Loaded& loaded, std::vector<std::byte>& memory,
                        uint64_t fuel = kDefaultFuel) {
    BytesContext bytes{memory.data(), memory.size()};
    EngineResult result;
    result.r0 = run_program(
        area,
        {.image = loaded.image.get(), .code = loaded.code.get(), .ctx = &bytes, .fuel = fuel});
    result.trap = area.trap;
    result.slot = area.trap == TrapCode::None ? 0 : area.trap_slot;
    result.fuel_used =
        fuel - area.fuel_reserve - static_cast<uint64_t>(std::max<int64_t>(area.fuel, 0));
    return result;
}

inline EngineResult run_text(Form form, std::string_view text, size_t memory_size = 64,
                             uint64_t fuel = kDefaultFuel) {
    auto program = program_of(text);
    auto area = RunArea::create();
    if (!program || !area) return {.trap = TrapCode::Unsupported};
    const Loaded loaded = load(form, std::move(program));
    if (!loaded.image) return {.trap = TrapCode::Unsupported};
    std::vector<std::byte> memory(memory_size);
    return run(**area, loaded, memory, fuel);
}

}  // namespace skep::test
