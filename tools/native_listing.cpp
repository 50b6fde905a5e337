#include "tools/native_listing.hpp"

#include <sstream>

#include <skep/map.hpp>

#include "helpers/table.hpp"
#include "verifier/verifier.hpp"
#include "vm/base/try.hpp"
#include "vm/run/lower.hpp"
#ifdef SKEP_HAS_JIT
#include "jit/jit.hpp"
#endif

namespace skep::tool {

#ifdef SKEP_HAS_JIT
namespace {

Result<Binding> bind(const Program& program) {
    Binding binding;
    for (const auto& def : program.maps) {
        SKEP_TRY(auto map, create_map(*def));
        binding.maps.push_back(std::move(map));
    }
    binding.helper = [type = program.type](uint32_t id) { return find_helper(id, *type); };
    return binding;
}

Result<std::shared_ptr<Image>> lower_any(const std::shared_ptr<const Program>& program,
                                         bool& verified) {
    SKEP_TRY(Binding binding, bind(*program));
    Analysis analysis;
    const VerifiedProgram proven = analyze(program, {.policy = Policy::Linux}, analysis);
    verified = static_cast<bool>(proven);
    if (!verified) return lower_checked(program, nullptr, std::move(binding));
    binding.fuel = proven.facts().worst_case_fuel > kDefaultFuel;
    return lower(proven, std::move(binding));
}

// Splits the text at its "@SLOT" lines; what follows "@4294967295" lies behind the functions.
void split(const std::string& text, size_t slots, NativeListing& out) {
    out.slots.resize(slots);
    std::istringstream lines(text);
    std::vector<std::string>* current = &out.entry;
    bool behind = false;
    for (std::string line; std::getline(lines, line);) {
        const size_t at = line.find_first_not_of(" ;");
        if (at == std::string::npos || line[at] != '@') {
            current->push_back(line);
            continue;
        }
        const auto slot = static_cast<uint32_t>(std::stoul(line.substr(at + 1)));
        behind = behind || slot == kNoSlot;
        if (!behind && slot < slots)
            current = &out.slots[slot];
        else if (slot != kNoSlot)
            current = &out.behind.emplace_back(slot, std::vector<std::string>()).second;
    }
}

}  // namespace
#endif

Result<NativeListing> list_native(const std::shared_ptr<const Program>& program,
                                  const std::string& arch) {
#ifdef SKEP_HAS_JIT
#if defined(__aarch64__)
    const bool host_is_arm = true;
#else
    const bool host_is_arm = false;
#endif
    NativeListing out;
    const bool arm = arch.empty() ? host_is_arm : arch == "arm64";
    SKEP_TRY(const auto image, lower_any(program, out.verified));
    const auto features = arm == host_is_arm ? jit::Features::host() : jit::Features{};
    SKEP_TRY(const jit::Listing listing,
             jit::assemble(*image, arm ? jit::Target::A64 : jit::Target::X64, features));
    out.bytes = listing.bytes.size();
    split(listing.text, program->insns.size(), out);
    return out;
#else
    (void)program;
    (void)arch;
    return fail(ErrorCode::NoJit, "this build has no native-code engine");
#endif
}

}  // namespace skep::tool
