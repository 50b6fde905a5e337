#include "tests/verifier/verdict_case.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "helpers/table.hpp"
#include "vm/btf/btf.hpp"
#include "vm/isa/assemble.hpp"

namespace skep::test {
namespace {

uint32_t number(std::string_view text) {
    uint32_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

uint32_t map_type_number(std::string_view name) {
    constexpr std::string_view kNames[] = {"unspec",
                                           "hash",
                                           "array",
                                           "prog_array",
                                           "perf_event_array",
                                           "percpu_hash",
                                           "percpu_array",
                                           "stack_trace",
                                           "cgroup_array",
                                           "lru_hash",
                                           "lru_percpu_hash",
                                           "lpm_trie",
                                           "array_of_maps",
                                           "hash_of_maps",
                                           "devmap",
                                           "sockmap",
                                           "cpumap",
                                           "xskmap",
                                           "sockhash",
                                           "cgroup_storage",
                                           "reuseport_sockarray",
                                           "percpu_cgroup_storage",
                                           "queue",
                                           "stack",
                                           "sk_storage",
                                           "devmap_hash",
                                           "struct_ops",
                                           "ringbuf",
                                           "inode_storage",
                                           "task_storage",
                                           "bloom_filter",
                                           "user_ringbuf",
                                           "cgrp_storage",
                                           "arena"};
    const auto* found = std::ranges::find(kNames, name);
    return found == std::end(kNames) ? number(name)
                                     : static_cast<uint32_t>(found - std::begin(kNames));
}

MapDef read_map(const std::string& line, const std::vector<MapDef>& before) {
    MapDef map;
    std::stringstream parts(line);
    for (std::string part; std::getline(parts, part, ',');) {
        const size_t equals = part.find('=');
        if (equals == std::string::npos) continue;
        const std::string key = part.substr(0, equals), value = part.substr(equals + 1);
        if (key == "type") map.type = static_cast<MapType>(map_type_number(value));
        if (key == "key") map.key_size = number(value);
        if (key == "value") map.value_size = number(value);
        if (key == "entries") map.max_entries = number(value);
        if (key == "flags") map.flags = number(value);
        if (key == "map_extra") map.map_extra = number(value);
        if (key == "inner") map.inner = std::make_shared<MapDef>(before[number(value)]);
        if (key == "spin_lock") map.fields.push_back({FieldKind::SpinLock, number(value), 4, 0});
        if (key == "res_spin_lock")
            map.fields.push_back({FieldKind::ResSpinLock, number(value), 4, 0});
        if (key == "wq") map.fields.push_back({FieldKind::Workqueue, number(value), 16, 0});
        if (key == "task_work") map.fields.push_back({FieldKind::TaskWork, number(value), 8, 0});
        if (key == "timer") map.fields.push_back({FieldKind::Timer, number(value), 16, 0});
    }
    return map;
}

// Takes the names of kernel functions out of the text, in the order of their calls.
std::vector<std::string> take_kfunc_names(std::string& text) {
    constexpr std::string_view kCall = "call kfunc ";
    std::vector<std::string> names;
    for (size_t at = 0; (at = text.find(kCall, at)) != std::string::npos;) {
        at += kCall.size();
        const size_t end = std::min(text.find_first_of(" \n", at), text.size());
        const bool named = std::isdigit(static_cast<unsigned char>(text[at])) == 0;
        names.push_back(named ? text.substr(at, end - at) : std::string{});
        if (named) text.replace(at, end - at, "0");
    }
    return names;
}

}  // namespace

Result<VerdictCase> read_verdict_case(const TestCase& test) {
    VerdictCase out;
    out.title = test.title;
    const Section* text = test.find("asm");
    const Section* prog = test.find("prog");
    if (text == nullptr || prog == nullptr)
        return fail(ErrorCode::Syntax, test.title + ": `-- prog` and `-- asm` are needed");
    AssembleOptions names;
    names.helper = [](std::string_view name) -> std::optional<int32_t> {
        const Helper* helper = find_helper(name);
        if (helper == nullptr) return std::nullopt;
        return static_cast<int32_t>(helper->id);
    };
    std::string body = text->body;
    const std::vector<std::string> kfuncs = take_kfunc_names(body);
    auto slots = assemble(body, names);
    if (!slots) return std::unexpected(slots.error());
    out.slots = *std::move(slots);
    size_t next = 0;
    for (uint32_t i = 0; i < out.slots.size(); ++i) {
        if (out.slots[i].opcode != 0x85 || out.slots[i].src() != 2 || next >= kfuncs.size())
            continue;
        if (!kfuncs[next].empty()) out.kfuncs.emplace(i, kfuncs[next]);
        ++next;
    }
    std::stringstream words(prog->words);
    std::string type;
    words >> type;
    bool typed = names_callbacks(out.slots);
    for (std::string word; words >> word;) {
        if (word == "sleepable") out.sleepable = true;
        if (word == "nongpl") out.gpl = false;
        if (word == "untyped") typed = false;
    }
    const size_t slash = type.find('/');
    out.type = parse_type(type);
    if (out.type.type == nullptr) return fail(ErrorCode::Syntax, test.title + ": no type " + type);
    if (out.type.section != nullptr && !out.type.section->exact && slash != std::string::npos)
        out.attach_target = type.substr(slash + 1);
    if (out.type.section != nullptr && out.type.section->sleepable) out.sleepable = true;
    if (const Section* maps = test.find("maps"); maps != nullptr) {
        std::stringstream lines(maps->body);
        for (std::string line; std::getline(lines, line);)
            if (line.find('=') != std::string::npos)
                out.maps.push_back(read_map(line.substr(line.find_first_not_of(' ')), out.maps));
    }
    std::vector<std::shared_ptr<const MapDef>> shared;
    for (const MapDef& map : out.maps) shared.push_back(std::make_shared<MapDef>(map));
    if (typed) out.functions = describe_functions(out.slots);
    out.program = make_raw_program(out.slots, *out.type.type, std::move(shared), out.gpl);
    if (out.program) {
        if (typed) {
            auto types = Btf::parse(out.functions->btf);
            if (!types) return std::unexpected(types.error());
            out.program->btf = *types;
            for (const FunctionTypes::Row& row : out.functions->rows)
                for (Subprogram& sub : out.program->subprograms)
                    if (sub.first == row.slot) sub.btf_func = row.type;
        }
        out.program->attach_type = out.type.attach_type;
        out.program->sleepable = out.sleepable;
        for (const auto& [slot, name] : out.kfuncs)
            out.program->externs[slot] = {ExternRef::What::Kfunc, name, false, 0};
        out.program->attach_target = out.attach_target;
        if (!out.attach_target.empty()) out.program->section = type;
    }
    return out;
}

}  // namespace skep::test
