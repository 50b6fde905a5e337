#include "tests/support/harness.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "maps/map_types.hpp"
#include "tests/support/engine_run.hpp"
#include "tests/support/reference.hpp"
#include "verifier/verifier.hpp"
#include "vm/base/try.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep::test {
namespace {

std::string hex_of(uint64_t value) {
    char text[24];
    std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

Result<uint64_t> parse_number(std::string_view text) {
    uint64_t value = 0;
    const bool is_hex = text.starts_with("0x");
    const char* begin = text.data() + (is_hex ? 2 : 0);
    const auto [end, error] =
        std::from_chars(begin, text.data() + text.size(), value, is_hex ? 16 : 10);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return fail(ErrorCode::Syntax, "`" + std::string(text) + "` is no number");
    }
    return value;
}

// The words of a section, or the text below when there are none, as in `.data` files.
std::string value_of(const Section& section) {
    return section.words.empty() ? trimmed(section.body) : section.words;
}

// --- engines -------------------------------------------------------------------------------------

std::optional<Result<Outcome>> run_in_reference(const Prepared& test) {
    if (test.type != "raw" && test.type != "socket_filter") return std::nullopt;
    Outcome outcome;
    outcome.memory = test.memory;
    const auto result = run_raw(test.insns, outcome.memory, test.fuel.value_or(uint64_t{1} << 26));
    outcome.r0 = result.r0;
    outcome.trap = result.trap;
    outcome.slot = result.slot;
    return outcome;
}

std::optional<Result<Outcome>> run_engine(const Prepared& test, Form form, Runs runs) {
    if (test.type != "raw" || test.insns.empty()) return std::nullopt;
    auto area = RunArea::create();
    if (!area) return Result<Outcome>(std::unexpected(area.error()));
    const Loaded loaded = load(form, program_of(test.insns), {}, runs);
    if (!loaded.image) return std::nullopt;
    std::vector<std::byte> memory(test.memory.size());
    std::ranges::transform(test.memory, memory.begin(), [](uint8_t b) { return std::byte{b}; });
    const auto result = run(**area, loaded, memory, test.fuel.value_or(kDefaultFuel));
    Outcome outcome{result.r0, result.trap, result.slot, test.memory};
    std::ranges::transform(memory, outcome.memory.begin(),
                           [](std::byte b) { return std::to_integer<uint8_t>(b); });
    return outcome;
}

template <Runs kRuns>
std::optional<Result<Outcome>> run_in_sandbox(const Prepared& test) {
    return run_engine(test, Form::Sandbox, kRuns);
}

// The unchecked form runs only what a verifier would let in: what does not trap elsewhere.
template <Runs kRuns>
std::optional<Result<Outcome>> run_unchecked(const Prepared& test) {
    const auto safe = run_engine(test, Form::Sandbox, Runs::Interpreted);
    if (!safe || !*safe || (*safe)->trap != TrapCode::None) return std::nullopt;
    return run_engine(test, Form::Unchecked, kRuns);
}

constexpr auto kEngines = std::to_array<Engine>({
    {"reference", run_in_reference},
    {"sandbox interpreter", run_in_sandbox<Runs::Interpreted>},
    {"unchecked interpreter", run_unchecked<Runs::Interpreted>},
    {"sandbox native code", run_in_sandbox<Runs::Native>},
    {"unchecked native code", run_unchecked<Runs::Native>},
});

// --- expectations of single stages ---------------------------------------------------------------

Section error_section(const Prepared& test) {
    if (!test.error) return {"error", "none", ""};
    std::string where;
    if (test.error->where.line != 0)
        where = "line " + std::to_string(test.error->where.line) + ": ";
    if (test.error->where.slot >= 0)
        where = "slot " + std::to_string(test.error->where.slot) + ": ";
    return {"error", std::string(name_of(test.error->code)), where + test.error->message + "\n"};
}

Section disasm_section(const Prepared& test) { return {"disasm", "", disassemble(test.insns)}; }

// What the verifier says; an Analysis that was not made carries the reason as its error.
Analysis analyze_case(const Prepared& test, unsigned log_level) {
    const ProgType* type = find_prog_type(test.type);
    Analysis refused;
    if (type == nullptr) {
        refused.error = {ErrorCode::UnknownProgramType, "no program type " + test.type, {}};
        return refused;
    }
    auto program = make_raw_program(test.slots, *type, test.maps);
    if (!program) {
        refused.error = program.error();
        return refused;
    }
    if (type->kind == ProgKind::Raw) {
        program->raw_size = static_cast<uint32_t>(test.memory.size());
    }
    return analyze(*program, {.policy = test.policy, .log_level = log_level});
}

Section verdict_section(const Prepared& test) {
    const Analysis analysis = analyze_case(test, 0);
    std::string words(name_of(analysis.verdict));
    if (analysis.accepted()) return {"verdict", words, ""};
    words += " " + std::string(name_of(analysis.error.code));
    if (analysis.error.where.slot >= 0) {
        words += " at " + std::to_string(analysis.error.where.slot);
    }
    return {"verdict", words, analysis.error.message + "\n"};
}

Section log_section(const Prepared& test) { return {"log", "", analyze_case(test, 2).log}; }

constexpr auto kExpectations = std::to_array<Expectation>({
    {"error", error_section},
    {"disasm", disasm_section},
    {"verdict", verdict_section},
    {"log", log_section},
});

constexpr auto kInputs = std::to_array<std::string_view>(
    {"asm", "raw", "mem", "prog", "fuel", "kernel", "maps", "policy"});
constexpr auto kRunExpectations = std::to_array<std::string_view>({"result", "trap", "after"});

// --- expectations of runs ------------------------------------------------------------------------

// What `section` should say after `outcome`.
Section run_section(const Section& section, const Outcome& outcome) {
    if (section.name == "after") return {"after", "", to_hex(outcome.memory)};
    if (outcome.trap == TrapCode::None) return {"result", hex_of(outcome.r0), ""};
    std::string words(name_of(outcome.trap));
    // The slot is checked where the case names one.
    if (section.name != "trap" || section.words.contains(' ')) {
        words += " " + std::to_string(outcome.slot);
    }
    return {"trap", words, ""};
}

bool agrees(const Section& expected, const Section& actual) {
    if (expected.name != actual.name) return false;
    if (expected.name == "result") {
        const auto a = parse_number(value_of(expected)), b = parse_number(value_of(actual));
        return a.has_value() && b.has_value() && *a == *b;
    }
    if (expected.words.empty()) return value_of(expected) == value_of(actual);
    // "rejected" is enough where code and slot do not matter.
    const bool is_start =
        expected.name == "verdict" && (actual.words + " ").starts_with(expected.words + " ");
    const std::string body = trimmed(expected.body);
    return (is_start || expected.words == actual.words) &&
           (body.empty() || body == trimmed(actual.body));
}

std::string complaint(const TestCase& test, std::string_view who, const Section& expected,
                      const Section& actual) {
    const auto text = [](const Section& s) {
        return "-- " + s.name + " " + s.words + "\n" + trimmed(s.body);
    };
    return test.title + " [" + std::string(who) + "]\n" + diff(text(expected), text(actual));
}

// Puts `actual` in the place of `expected`, keeping a blank line at its end.
void replace(Section& expected, Section actual, bool& changed) {
    if (expected.body.ends_with("\n\n") || expected.body == "\n") actual.body += "\n";
    if (expected == actual) return;
    expected = std::move(actual);
    changed = true;
}

void check_run(const Prepared& prepared, TestCase& test, Section& section, bool bless,
               bool& changed, std::vector<std::string>& complaints) {
    bool blessed = false;
    size_t ran = 0;
    for (const Engine& engine : engines()) {
        const auto outcome = engine.run(prepared);
        if (!outcome) continue;
        ++ran;
        if (!*outcome) {
            complaints.push_back(test.title + " [" + std::string(engine.name) + "]\n+ " +
                                 outcome->error().to_string() + "\n");
            continue;
        }
        const Section actual = run_section(section, **outcome);
        if (agrees(section, actual)) continue;
        if (bless && !blessed) {
            replace(section, actual, changed);
            blessed = true;
            continue;
        }
        complaints.push_back(complaint(test, engine.name, section, actual));
    }
    if (ran == 0)
        complaints.push_back(test.title + ": no engine runs type " + prepared.type + "\n");
}

Result<std::vector<RawInsn>> parse_slots(std::string_view text) {
    SKEP_TRY(const auto bytes, parse_hex(text));
    if (bytes.size() % sizeof(RawInsn) != 0) {
        return fail(ErrorCode::Syntax, "slots have 8 bytes each");
    }
    std::vector<RawInsn> slots(bytes.size() / sizeof(RawInsn));
    if (!slots.empty()) std::memcpy(slots.data(), bytes.data(), bytes.size());
    return slots;
}

// "hash key=8 value=48 entries=1 flags=0", a map a line.
Result<std::vector<std::shared_ptr<const MapDef>>> parse_maps(std::string_view text) {
    std::vector<std::shared_ptr<const MapDef>> maps;
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string word;
        if (!(words >> word)) continue;
        const MapTypeInfo* type = map_type_by_name(word);
        if (type == nullptr) return fail(ErrorCode::UnknownMapType, "no map type `" + word + "`");
        MapDef def;
        def.name = "map" + std::to_string(maps.size());
        def.type = type->type;
        while (words >> word) {
            const size_t equals = word.find('=');
            const std::string name = word.substr(0, equals);
            SKEP_TRY(const uint64_t value,
                     parse_number(equals == std::string::npos ? "" : word.substr(equals + 1)));
            uint32_t* field = name == "key"       ? &def.key_size
                              : name == "value"   ? &def.value_size
                              : name == "entries" ? &def.max_entries
                              : name == "flags"   ? &def.flags
                                                  : nullptr;
            if (field == nullptr) {
                return fail(ErrorCode::Syntax, "`" + name + "`: key, value, entries, flags");
            }
            *field = static_cast<uint32_t>(value);
        }
        maps.push_back(std::make_shared<const MapDef>(std::move(def)));
    }
    return maps;
}

Result<Policy> parse_policy(std::string_view name) {
    if (name == "linux") return Policy::Linux;
    if (name == "extended") return Policy::Extended;
    if (name == "strict") return Policy::Strict;
    if (name == "hardened") return Policy::Hardened;
    return fail(ErrorCode::Syntax, "no policy `" + std::string(name) + "`");
}

}  // namespace

std::span<const Engine> engines() { return kEngines; }
std::span<const Expectation> expectations() { return kExpectations; }

Result<std::vector<uint8_t>> parse_hex(std::string_view text) {
    std::vector<uint8_t> bytes;
    std::string digits;
    bool comment = false;
    for (const char c : text) {
        if (c == '#') comment = true;
        if (c == '\n') comment = false;
        if (comment || c == ' ' || c == '\t' || c == '\n' || c == '\r') continue;
        digits += c;
    }
    for (size_t i = 0; i < digits.size(); i += 2) {
        uint8_t byte = 0;
        const auto [end, error] = std::from_chars(
            digits.data() + i, digits.data() + std::min(i + 2, digits.size()), byte, 16);
        if (error != std::errc{} || end != digits.data() + i + 2) {
            return fail(ErrorCode::Syntax, "`" + digits.substr(i, 2) + "` is no byte in hex");
        }
        bytes.push_back(byte);
    }
    return bytes;
}

std::string to_hex(std::span<const uint8_t> bytes) {
    std::string out;
    for (size_t i = 0; i < bytes.size(); ++i) {
        char text[4];
        std::snprintf(text, sizeof(text), "%02x", bytes[i]);
        out.append(text).append(i % 16 == 15 || i + 1 == bytes.size() ? "\n" : " ");
    }
    return out;
}

Result<Prepared> prepare(const TestCase& test) {
    Prepared prepared;
    prepared.test = &test;
    if (const Section* type = test.find("prog")) prepared.type = value_of(*type);
    if (const Section* mem = test.find("mem")) {
        SKEP_TRY(prepared.memory, parse_hex(mem->words + "\n" + mem->body));
    }
    if (const Section* fuel = test.find("fuel")) {
        SKEP_TRY(prepared.fuel, parse_number(value_of(*fuel)));
    }
    if (const Section* maps = test.find("maps")) {
        SKEP_TRY(prepared.maps, parse_maps(maps->words + "\n" + maps->body));
    }
    if (const Section* policy = test.find("policy")) {
        SKEP_TRY(prepared.policy, parse_policy(value_of(*policy)));
    }
    const Section* text = test.find("asm");
    const Section* raw = test.find("raw");
    if ((text == nullptr) == (raw == nullptr)) {
        return fail(ErrorCode::Syntax, "a case has either `-- asm` or `-- raw`");
    }
    auto slots = text != nullptr ? assemble(text->body) : parse_slots(raw->body);
    if (!slots) {
        prepared.error = slots.error();
        return prepared;
    }
    prepared.slots = *std::move(slots);
    auto insns = decode(prepared.slots);
    if (insns) {
        prepared.insns = *std::move(insns);
    } else {
        prepared.error = insns.error();
    }
    return prepared;
}

std::vector<std::string> run_case(TestCase& test, bool bless, bool& changed) {
    const auto prepared = prepare(test);
    if (!prepared) return {test.title + ": " + prepared.error().to_string() + "\n"};
    std::vector<std::string> complaints;
    bool checked = false;
    if (prepared->error && test.find("error") == nullptr) {
        return {test.title + ": " + prepared->error->to_string() + "\n"};
    }
    for (Section& section : test.sections) {
        if (std::ranges::find(kInputs, section.name) != kInputs.end()) continue;
        checked = true;
        const auto stage = std::ranges::find(expectations(), section.name, &Expectation::section);
        if (stage != expectations().end()) {
            const Section actual = stage->actual(*prepared);
            if (agrees(section, actual)) continue;
            if (bless) {
                replace(section, actual, changed);
            } else {
                complaints.push_back(complaint(test, "stage", section, actual));
            }
        } else if (std::ranges::find(kRunExpectations, section.name) != kRunExpectations.end()) {
            check_run(*prepared, test, section, bless, changed, complaints);
        } else {
            complaints.push_back(test.title + ": unknown section `" + section.name + "`\n");
        }
    }
    if (!checked) complaints.push_back(test.title + ": nothing is expected\n");
    return complaints;
}

}  // namespace skep::test
