// Program types, section names and attach types: the tables of prog_types.def, section_types.def
// and attach_types.def, and look-up in them. Matching of section names is libbpf's.
#include "vm/prog/prog_type.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "vm/prog/ctx_layouts.hpp"

namespace skep {

namespace {

using Names = std::span<const std::string_view>;

// One static array per distinct list of names; structural, so that it can be a template argument.
template <size_t N>
struct Text {
    char chars[N] = {};
    constexpr Text(const char (&text)[N]) { std::copy_n(text, N, chars); }
};
template <Text... kNames>
constexpr std::array<std::string_view, sizeof...(kNames)> kNameList = {
    std::string_view(kNames.chars, sizeof(kNames.chars) - 1)...};

constexpr ReturnRange range(int32_t min, int32_t max) { return {true, min, max}; }

// What Linux's check of r0 at exit allows where nothing depends on the attach type.
constexpr ReturnRange default_range(ProgKind kind) {
    switch (kind) {
        case ProgKind::CgroupSkb:
        case ProgKind::CgroupSock:
        case ProgKind::CgroupSockAddr:
        case ProgKind::SockOps:
        case ProgKind::CgroupDevice:
        case ProgKind::CgroupSysctl:
        case ProgKind::CgroupSockopt:
        case ProgKind::SkLookup:
        case ProgKind::Netfilter: return range(0, 1);
        default: return {};
    }
}

#define VERDICTS(...) Names(kNameList<__VA_ARGS__>)
#define NO_VERDICTS Names()
constexpr ProgType kProgTypes[] = {
#define SKEP_PROG_TYPE(Kind, name, uapi, layout, packet, writable, verdicts, unspec, other) \
    {ProgKind::Kind,                                                                        \
     name,                                                                                  \
     uapi,                                                                                  \
     &layout,                                                                               \
     default_range(ProgKind::Kind),                                                         \
     type_bit(ProgKind::Kind),                                                              \
     packet,                                                                                \
     writable,                                                                              \
     verdicts,                                                                              \
     unspec,                                                                                \
     other},
#include "vm/prog/prog_types.def"
};
#undef VERDICTS
#undef NO_VERDICTS

// Kinds 0..32 sit at their own number, Raw behind them.
constexpr const ProgType* type_row(ProgKind kind) {
    for (const ProgType& type : kProgTypes) {
        if (type.kind == kind) return &type;
    }
    return nullptr;
}

enum class Match : uint8_t { Exact, Prefix, Historical };

constexpr SectionType kSectionTypes[] = {
#define SKEP_SECTION(pattern, Kind, Attach, match, sleepable, frags) \
    {pattern,                                                        \
     type_row(ProgKind::Kind),                                       \
     static_cast<uint32_t>(AttachType::Attach),                      \
     Match::match != Match::Prefix,                                  \
     sleepable,                                                      \
     frags,                                                          \
     Match::match == Match::Historical},
#include "vm/prog/section_types.def"
};

struct AttachRow {
    uint32_t number;
    std::string_view name;
};
constexpr AttachRow kAttachTypes[] = {
#define SKEP_ATTACH_TYPE(number, Name, name) {number, name},
#include "vm/prog/attach_types.def"
};

// The suffixes that sections had before libbpf 1.0 wanted exact names.
bool is_historical_suffix(std::string_view suffix) {
    const char c = suffix.empty() ? '\0' : suffix.front();
    return c == '/' || c == '_' || c == '.' || c == '-' || (c >= '0' && c <= '9');
}

bool iequal(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return std::tolower(static_cast<unsigned char>(x)) ==
               std::tolower(static_cast<unsigned char>(y));
    });
}

// Edit distance in which swapping two neighbours is one edit, for names of at most 64 characters
// (longer ones are cut).
size_t edit_distance(std::string_view a, std::string_view b) {
    constexpr size_t kLongest = 64;
    a = a.substr(0, kLongest);
    b = b.substr(0, kLongest);
    std::array<size_t, kLongest + 1> before{}, last{}, row{};
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        before = last;
        last = row;
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
    }
    return row[b.size()];
}

// The candidates nearest to `name`; those that share nothing with it are left out.
std::vector<std::string_view> nearest(std::string_view name,
                                      const std::vector<std::string_view>& candidates,
                                      size_t count) {
    std::vector<std::pair<size_t, std::string_view>> scored;
    for (const std::string_view candidate : candidates) {
        const size_t distance = edit_distance(name, candidate);
        const size_t longest = std::max(name.size(), candidate.size());
        if (distance * 3 <= longest * 2) scored.emplace_back(distance, candidate);
    }
    // Pairs order by distance, then name.
    std::sort(scored.begin(), scored.end());
    std::vector<std::string_view> result;
    for (const auto& [distance, candidate] : scored) {
        if (result.size() == count) break;
        if (std::find(result.begin(), result.end(), candidate) == result.end()) {
            result.push_back(candidate);
        }
    }
    return result;
}

}  // namespace

std::string_view ProgType::verdict_of(uint64_t r0) const {
    const auto value = static_cast<uint32_t>(r0);
    if (value < verdicts.size() && !verdicts[value].empty()) return verdicts[value];
    if (value == ~uint32_t{0} && !verdict_unspec.empty()) return verdict_unspec;
    return verdict_other;
}

std::span<const ProgType> prog_types() { return kProgTypes; }
std::span<const SectionType> section_types() { return kSectionTypes; }

const ProgType* find_prog_type(ProgKind kind) { return type_row(kind); }

const ProgType* find_prog_type(std::string_view name) { return parse_type(name).type; }

namespace {

// A type by itself attaches where libbpf attaches it by default. Where there is no such place, an
// access that any of the type's attach types may make is one that it may make.
TypeChoice default_choice(const ProgType& type) {
    const auto wanted = type.kind == ProgKind::CgroupSock ? "cgroup/sock_create" : type.name;
    for (const SectionType& section : kSectionTypes)
        if (section.type == &type && section.pattern == wanted)
            return {&type, section.attach_type, &section};
    const bool anywhere =
        type.kind == ProgKind::CgroupSockAddr || type.kind == ProgKind::CgroupSockopt;
    return {&type, anywhere ? kAnyAttach : 0, nullptr};
}

}  // namespace

TypeChoice parse_type(std::string_view name) {
    for (const ProgType& type : kProgTypes) {
        if (type.name == name || iequal(type.uapi_name, name)) return default_choice(type);
    }
    if (const SectionType* section = find_section_type(name)) {
        return {section->type, section->attach_type, section};
    }
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) return {};
    const std::string_view kind = name.substr(0, slash), suffix = name.substr(slash);
    for (const SectionType& section : kSectionTypes) {
        if (section.type->name == kind && section.pattern.ends_with(suffix)) {
            return {section.type, section.attach_type, &section};
        }
    }
    return {};
}

const SectionType* find_section_type(std::string_view section) {
    if (section.starts_with('?')) section.remove_prefix(1);
    for (const SectionType& row : kSectionTypes) {
        if (!section.starts_with(row.pattern)) continue;
        if (section.size() == row.pattern.size()) return &row;
        if (!row.exact && section[row.pattern.size()] == '/') return &row;
    }
    const SectionType* best = nullptr;
    for (const SectionType& row : kSectionTypes) {
        if (!row.historical || !section.starts_with(row.pattern)) continue;
        if (!is_historical_suffix(section.substr(row.pattern.size()))) continue;
        if (best == nullptr || row.pattern.size() > best->pattern.size()) best = &row;
    }
    return best;
}

ReturnRange return_range(ProgKind kind, uint32_t attach_type) {
    const auto attach = static_cast<AttachType>(attach_type);
    switch (kind) {
        case ProgKind::CgroupSkb:
            // Egress may also ask for congestion notification.
            return attach == AttachType::CgroupInetEgress ? range(0, 3) : range(0, 1);
        case ProgKind::CgroupSockAddr:
            switch (attach) {
                // Too late to refuse anything.
                case AttachType::CgroupUdp4Recvmsg:
                case AttachType::CgroupUdp6Recvmsg:
                case AttachType::CgroupUnixRecvmsg:
                case AttachType::CgroupInet4Getpeername:
                case AttachType::CgroupInet6Getpeername:
                case AttachType::CgroupUnixGetpeername:
                case AttachType::CgroupInet4Getsockname:
                case AttachType::CgroupInet6Getsockname:
                case AttachType::CgroupUnixGetsockname: return range(1, 1);
                // Bit 1 lifts the check of CAP_NET_BIND_SERVICE.
                case AttachType::CgroupInet4Bind:
                case AttachType::CgroupInet6Bind: return range(0, 3);
                default: return range(0, 1);
            }
        case ProgKind::Tracing:
            switch (attach) {
                case AttachType::TraceFentry:
                case AttachType::TraceFexit: return range(0, 0);
                case AttachType::TraceIter: return range(0, 1);
                default: return {};
            }
        case ProgKind::Kprobe:
            if (attach == AttachType::TraceKprobeSession) return range(0, 1);
            if (attach == AttachType::TraceUprobeSession) return range(0, 1);
            return {};
        case ProgKind::Lsm:
            // Hooks that return int take an errno; the few that do not are the attach target's.
            return attach == AttachType::LsmCgroup ? range(0, 1) : range(-4095, 0);
        default: return default_range(kind);
    }
}

std::string_view attach_type_name(uint32_t attach_type) {
    return attach_type < std::size(kAttachTypes) ? kAttachTypes[attach_type].name
                                                 : std::string_view();
}

std::optional<uint32_t> find_attach_type(std::string_view name) {
    if (name.size() > 4 && iequal(name.substr(0, 4), "BPF_")) name.remove_prefix(4);
    for (const AttachRow& row : kAttachTypes) {
        if (iequal(row.name, name)) return row.number;
    }
    return std::nullopt;
}

std::vector<std::string_view> similar_names(std::string_view name,
                                            std::span<const std::string_view> candidates,
                                            size_t count) {
    return nearest(name, {candidates.begin(), candidates.end()}, count);
}

std::vector<std::string_view> similar_types(std::string_view name, size_t count) {
    std::vector<std::string_view> names;
    for (const ProgType& type : kProgTypes) names.push_back(type.name);
    return nearest(name, names, count);
}

std::vector<std::string_view> similar_sections(std::string_view section, size_t count) {
    if (section.starts_with('?')) section.remove_prefix(1);
    const std::string_view head = section.substr(0, section.find('/'));
    std::vector<std::string_view> names;
    for (const SectionType& row : kSectionTypes) names.push_back(row.pattern);
    // "kprob/sys_open" is close to "kprobe" only without its target; "cgroup/conect4" only with it.
    std::vector<std::string_view> result;
    for (const std::string_view typed : {section, head}) {
        for (const std::string_view name : nearest(typed, names, count)) {
            const bool whole = typed == section || edit_distance(head, name) <= 2;
            if (whole && std::find(result.begin(), result.end(), name) == result.end()) {
                result.push_back(name);
            }
        }
    }
    const auto score = [&](std::string_view name) {
        return std::min(edit_distance(section, name),
                        edit_distance(head, name) + (head != section));
    };
    std::sort(result.begin(), result.end(), [&](std::string_view a, std::string_view b) {
        return std::pair(score(a), a) < std::pair(score(b), b);
    });
    if (result.size() > count) result.resize(count);
    return result;
}

}  // namespace skep
