// Running a program by the options of `skep run`; see session.hpp.
#include "tools/session.hpp"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "tools/context.hpp"
#include "tools/slots.hpp"
#include "tools/text.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/slots.hpp"

namespace skep::tool {
namespace {

constexpr uint32_t kFirstDevice = 2;  // 1 is the interface that packets come from
constexpr size_t kMaxData = size_t{1} << 30;
constexpr size_t kMaxTraceLines = 100'000;
constexpr uint32_t kSmallestFrame = 60;  // Ethernet without checksum

Error with_prefix(const std::string& prefix, Error error) {
    error.message = prefix + error.message;
    return error;
}

}  // namespace

uint64_t RunReport::retval() const {
    const bool wide = type->kind == ProgKind::Raw || type->kind == ProgKind::Syscall;
    return wide ? outcome->first.r0 : static_cast<uint32_t>(outcome->first.r0);
}

Result<void> Session::execute(Exit& exit) {
    const auto all = [&]() -> Result<void> {
        SKEP_CHECK(check_source(options_.source));
        SKEP_CHECK(parse_clock());
        if (!options_.task.empty()) {
            SKEP_TRY(task_, parse_task());
        }
        random_ = options_.seed;
        if (sync::fix_slot_count(options_.cpus) != options_.cpus || options_.cpu >= options_.cpus ||
            !sync::take_slot(options_.cpu)) {
            return fail(ErrorCode::InvalidArgument,
                        "--cpu: there is no CPU " + std::to_string(options_.cpu) + " among " +
                            std::to_string(options_.cpus) + " (--cpus changes that)");
        }
        SKEP_CHECK(make_vm());
        SKEP_CHECK(options_.source.raw.empty() ? load_object() : load_slots());
        SKEP_CHECK(fill_maps());
        SKEP_CHECK(open_events());
        SKEP_CHECK(run());
        run_due();
        SKEP_CHECK(report.events.finish());
        return dump_maps();
    };
    auto done = all();
    exit = !done ? failure_ : report.outcome->trapped != 0 ? Exit::Rejected : Exit::Done;
    return done;
}

Result<void> Session::make_vm() {
    VmOptions vm;
    if (options_.engine == "jit") vm.engine = Engine::Jit;
    if (options_.engine == "interp") vm.engine = Engine::Interpreter;
    vm.mode = options_.mode == "sandbox" ? Mode::Sandbox : Mode::Verified;
    vm.policy = options_.policy == "linux"      ? Policy::Linux
                : options_.policy == "extended" ? Policy::Extended
                : options_.policy == "strict"   ? Policy::Strict
                                                : Policy::Hardened;
    vm.fuel = options_.fuel;
    vm.services = services();
    vm.kernel_btf = [this]() -> std::shared_ptr<const Btf> {
        // Typed pointers need the kernel's types; where none were given, the running kernel's
        // serve.
        const std::string& given = options_.source.btf;
        auto types = load_btf(given.empty() ? "/sys/kernel/btf/vmlinux" : given);
        return types ? *std::move(types) : nullptr;
    };
    auto made = Vm::create(vm);
    if (!made && options_.mode.empty() && made.error().code == ErrorCode::InvalidArgument) {
        // Verified is the default where there is a verifier.
        vm.mode = Mode::Sandbox;
        made = Vm::create(vm);
    }
    if (!made) return std::unexpected(std::move(made).error());
    vm_ = *std::move(made);
    return {};
}

Services Session::services() {
    Services s;
    if (!real_clock_) s.ktime_ns = s.boot_ns = s.coarse_ns = s.tai_ns = [this] { return now_; };
    // SplitMix64: small, well mixed, and the same everywhere.
    s.random = [this] {
        uint64_t z = random_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    };
    s.task = [this] { return task_; };
    s.trace = [this](std::string_view line) { trace(line); };
    s.cpu = static_cast<int32_t>(options_.cpu);
    // One socket per number in a socket map; options that were set can be read.
    s.map_socket = [this](const Map&, uint64_t number) {
        const std::lock_guard lock(sockets_mutex_);
        SockContext& socket = sockets_[number];
        socket.cookie = number;
        return &socket;
    };
    s.sockopt = [this](const SocketOption& option) -> int64_t {
        const std::lock_guard lock(sockets_mutex_);
        auto& value = socket_options_[{option.level, option.name}];
        if (option.set) value.assign(option.value.begin(), option.value.end());
        const size_t known = std::min(value.size(), option.value.size());
        std::copy_n(value.begin(), known, option.value.begin());
        return 0;
    };
    s.bind = [](SockAddrContext&, std::span<const std::byte>) { return 0; };
    s.syncookie_secret[0] = options_.seed | uint64_t{1} << 63;
    s.published.push_back({kIterMetaAddress, reinterpret_cast<const std::byte*>(iter_meta_.data()),
                           sizeof iter_meta_});
    s.seq = [this](std::span<const std::byte> text) {
        seq_.append(reinterpret_cast<const char*>(text.data()), text.size());
    };
    return s;
}

void Session::trace(std::string_view line) {
    if (!options_.json) {
        const std::string text = escaped(line) + "\n";
        std::fwrite(text.data(), 1, text.size(), stderr);
    } else if (report.trace.size() < kMaxTraceLines) {
        report.trace.emplace_back(line);
    } else {
        ++report.trace_dropped;
    }
}

Result<void> Session::parse_clock() {
    const std::string& clock = options_.clock;
    packet_clock_ = clock.empty() ? !options_.pcap.empty() : clock == "pcap";
    real_clock_ = clock == "real";
    if (clock.starts_with("fixed:")) {
        SKEP_TRY(now_, parse_number(clock.substr(6), "--clock"));
    } else if (!clock.empty() && !packet_clock_ && !real_clock_) {
        return fail(ErrorCode::InvalidArgument,
                    "--clock: '" + escaped(clock) + "' is none of pcap, real, fixed:NANOSECONDS");
    }
    if (packet_clock_ && options_.pcap.empty()) {
        return fail(ErrorCode::InvalidArgument, "--clock pcap needs --pcap");
    }
    return {};
}

Result<Services::Task> Session::parse_task() const {
    Services::Task task;
    const std::string& spec = options_.task;
    for (size_t at = 0; at <= spec.size();) {
        const size_t comma = std::min(spec.find(',', at), spec.size());
        SKEP_TRY(const auto field, split_pair(spec.substr(at, comma - at), "--task"));
        at = comma + 1;
        if (field.first == "comm") {
            if (field.second.size() >= sizeof task.comm) {
                return fail(ErrorCode::InvalidArgument, "--task: comm has at most 15 bytes");
            }
            std::memset(task.comm, 0, sizeof task.comm);
            std::memcpy(task.comm, field.second.data(), field.second.size());
            continue;
        }
        SKEP_TRY(const uint64_t value, parse_number(field.second, "--task"));
        uint32_t* into = field.first == "pid"    ? &task.pid
                         : field.first == "tgid" ? &task.tgid
                         : field.first == "uid"  ? &task.uid
                         : field.first == "gid"  ? &task.gid
                         : field.first == "ppid" ? &task.ppid
                                                 : nullptr;
        if (into == nullptr || value > UINT32_MAX) {
            return fail(
                ErrorCode::InvalidArgument,
                "--task: '" + escaped(field.first + "=" + field.second) +
                    "' is none of pid=N, tgid=N, uid=N, gid=N, ppid=N (32 bits), comm=NAME");
        }
        *into = static_cast<uint32_t>(value);
    }
    return task;
}

// --- loading
// --------------------------------------------------------------------------------------

// Names what to do about errors that an option can cure; those are usage, not rejection.
Error Session::load_error(Error error) {
    failure_ = Exit::Rejected;
    if (error.code == ErrorCode::NoJit) {
        failure_ = Exit::BadUsage;
        error.message += "; leave --engine out or give --engine interp";
    } else if (error.code == ErrorCode::MapSizeNeeded) {
        failure_ = Exit::BadUsage;
        error.message += "; give it with --map-size NAME=N";
    } else if (error.code == ErrorCode::UnknownProgramType) {
        failure_ = Exit::BadUsage;
        std::vector<std::string> close;
        for (auto name : similar_sections(error.where.section)) close.emplace_back(name);
        if (!close.empty()) error.message += "; close section names are " + list_of(close);
        error.message += "; --type gives it a type (`skep types` lists them)";
    } else if (error.code == ErrorCode::BtfNeeded) {
        error.message += "; give the target's types with --btf FILE";
    } else if (error.code == ErrorCode::KconfigMissing) {
        error.message += "; give a kernel configuration with --kconfig FILE";
    }
    return error;
}

Result<void> Session::accept(Result<LoadedProgram> loaded) {
    if (!loaded) {
        report.error = load_error(std::move(loaded).error());
        return std::unexpected(*report.error);
    }
    report.loaded = *std::move(loaded);
    return {};
}

Result<void> Session::load_object() {
    report.object = options_.source.object;
    const uint64_t start = os::monotonic_ns();
    SKEP_TRY(object_, open_object(options_.source));
    for (size_t i = 0; i < object_->maps().size(); ++i) {
        const MapDef& def = object_->maps()[i];
        if (def.max_entries != 0) continue;
        if (def.type == MapType::PerfEventArray) {
            SKEP_CHECK(object_->set_map_size(def.name, options_.cpus));
        } else if (def.type == MapType::Ringbuf) {
            SKEP_CHECK(object_->set_map_size(def.name, static_cast<uint32_t>(os::page_size())));
        }
    }
    const bool packets = !options_.pcap.empty();
    SKEP_TRY(const size_t index, select_program(*object_, options_.source.program, packets));
    report.program = object_->programs()[index].name;
    SKEP_CHECK(override_type(*object_, index, options_.source));
    const ObjectProgram& chosen = object_->programs()[index];
    if (chosen.type == nullptr || chosen.type->kind == ProgKind::Unspec) {
        return std::unexpected(
            load_error({ErrorCode::UnknownProgramType,
                        "the section name '" + escaped(chosen.section) + "' says no program type",
                        {.section = std::string(chosen.section), .program = report.program}}));
    }
    report.type = chosen.type;
    attach_type_ = chosen.attach_type;
    auto loaded = vm_->load(*object_, program_key(*object_, index));
    report.load_ns = os::monotonic_ns() - start;
    return accept(std::move(loaded));
}

Result<void> Session::load_slots() {
    report.object = options_.source.raw;
    const uint64_t start = os::monotonic_ns();
    SKEP_TRY(const RawSource raw, open_raw(options_.source));
    report.program = "raw";
    report.type = raw.type.type;
    attach_type_ = raw.type.attach_type;
    uint32_t size = options_.source.raw_size;
    if (raw.type.type->kind == ProgKind::Raw) {
        SKEP_TRY(raw_data_, context_bytes());
        size = static_cast<uint32_t>(raw_data_.size());
    }
    static_assert(sizeof(RawInsn) == sizeof(uint64_t));
    std::vector<uint64_t> words(raw.slots.size());
    std::memcpy(words.data(), raw.slots.data(), words.size() * sizeof(uint64_t));
    auto loaded = vm_->load_raw(words, raw.type_name, raw.maps, raw.gpl, size);
    report.load_ns = os::monotonic_ns() - start;
    return accept(std::move(loaded));
}

// --- maps
// -----------------------------------------------------------------------------------------

Result<std::shared_ptr<Map>> Session::find_map(std::string_view name) const {
    std::string wanted(name);
    if (object_) {
        const auto index = object_->find_map(name);
        if (index) wanted = object_->maps()[*index].name;
    }
    if (auto map = vm_->map(wanted)) return map;
    std::vector<std::string> names;
    for (const auto& map : vm_->maps()) names.push_back(escaped(map->def().name));
    return fail(ErrorCode::NotFound,
                "no map '" + escaped(name) + "'" +
                    (names.empty() ? "; the program has none" : "; there are " + list_of(names)));
}

Result<void> Session::fill_maps() {
    for (const std::string& text : options_.source.maps) {
        SKEP_TRY(const auto pair, split_pair(text, "--map"));
        auto map = find_map(pair.first);
        if (!map) return std::unexpected(with_prefix("--map: ", std::move(map).error()));
        // Data sections and single entries were filled before loading.
        if (object_ && is_initial_contents((*map)->def(), pair.second)) continue;
        if (is_initial_contents((*map)->def(), pair.second)) {
            SKEP_TRY(const auto bytes, read_contents((*map)->def(), pair.second, {}));
            const uint32_t key = 0;
            const long status = (*map)->host_update(reinterpret_cast<const std::byte*>(&key), bytes,
                                                    map_flags::kAny);
            if (status != 0) {
                return fail(ErrorCode::BadMapContents,
                            "--map " + escaped(text) + ": the map refuses it: " +
                                std::strerror(static_cast<int>(-status)));
            }
            continue;
        }
        SKEP_CHECK(load_map(**map, pair.second, *this));
    }
    return {};
}

Result<void> Session::dump_maps() {
    for (const std::string& name : options_.dump_maps) {
        auto map = find_map(name);
        if (!map) return std::unexpected(with_prefix("--dump-map: ", std::move(map).error()));
        SKEP_TRY(Json contents, dump_map(**map, *this));
        report.maps.emplace_back((*map)->def().name, std::move(contents));
    }
    return {};
}

// Every map that takes records has a consumer; --events says where they are kept.
Result<void> Session::open_events() {
    const auto types = object_ ? object_->btf() : nullptr;
    for (const auto& map : vm_->maps()) {
        if (!Events::takes_records(*map)) continue;
        SKEP_CHECK(report.events.add(map, types, ""));
        report.has_events = true;
    }
    for (const std::string& text : options_.events) {
        SKEP_TRY(const auto pair, split_pair(text, "--events"));
        auto map = find_map(pair.first);
        if (!map) return std::unexpected(with_prefix("--events: ", std::move(map).error()));
        SKEP_CHECK(report.events.add(*std::move(map), types, pair.second));
    }
    return {};
}

Result<void> Session::set_program(Map& array, uint32_t index, std::string_view name) {
    auto found = programs_.find(name);
    if (found == programs_.end()) {
        if (!object_) return fail(ErrorCode::NotFound, "a raw program has no others to name");
        SKEP_TRY(const size_t number, select_program(*object_, std::string(name), false));
        auto loaded = vm_->load(*object_, program_key(*object_, number));
        if (!loaded) return std::unexpected(load_error(std::move(loaded).error()));
        found = programs_.emplace(std::string(name), *std::move(loaded)).first;
    }
    return vm_->set_program(array, index, found->second);
}

Result<void> Session::set_inner(Map& outer, std::span<const std::byte> key, std::string_view name) {
    SKEP_TRY(auto inner, find_map(name));
    return vm_->set_inner_map(outer, key, std::move(inner));
}

uint32_t Session::device(std::string_view name) {
    const auto number = parse_number(name, "dev");
    if (number) return static_cast<uint32_t>(*number);
    auto found = std::find(devices_.begin(), devices_.end(), name);
    if (found == devices_.end()) found = devices_.insert(devices_.end(), std::string(name));
    return kFirstDevice + static_cast<uint32_t>(found - devices_.begin());
}

std::string Session::program_name(uint32_t id) const {
    for (const auto& [name, program] : programs_) {
        if (program.id() == id) return name;
    }
    return report.loaded && report.loaded.id() == id ? report.program : "";
}

std::string Session::map_name(uint32_t id) const {
    for (const auto& map : vm_->maps()) {
        if (map->id() == id) return map->def().name;
    }
    return "";
}

std::string Session::device_name(uint32_t number) const {
    if (number < kFirstDevice || number - kFirstDevice >= devices_.size()) return "";
    return devices_[number - kFirstDevice];
}

std::vector<Variable> Session::variables(const MapDef& def) const {
    if (!object_ || !def.name.starts_with('.')) return {};
    return variables_of(*object_, def);
}

std::string Session::redirect_name(const RedirectTarget& target) const {
    if (target.map == nullptr) {
        const std::string name = device_name(static_cast<uint32_t>(target.key));
        return name.empty() ? "interface " + std::to_string(target.key) : name;
    }
    return target.map->def().name + "[" + std::to_string(target.key) + "]";
}

// --- input
// ----------------------------------------------------------------------------------------

Result<std::vector<std::byte>> Session::input() const {
    if (!options_.data_hex.empty()) return parse_hex(options_.data_hex, "--data-hex");
    std::vector<std::byte> bytes;
    if (options_.data.empty()) return bytes;
    SKEP_TRY(const std::string text, read_input(options_.data, kMaxData));
    bytes.resize(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

Result<std::vector<ContextEdit>> Session::context_edits() const {
    SKEP_TRY(const auto hex, parse_hex(options_.context_hex, "--ctx-hex"));
    return read_context_edits(*report.type, hex, options_.context);
}

Result<std::vector<std::byte>> Session::context_bytes() const {
    SKEP_TRY(const auto data, input());
    SKEP_TRY(const auto hex, parse_hex(options_.context_hex, "--ctx-hex"));
    return read_context_bytes(*report.type, data, hex, options_.context, report.loaded);
}

ReplayOptions Session::replay_options() {
    ReplayOptions replay;
    replay.type = report.type;
    replay.attach_type = attach_type_;
    replay.framing = options_.frame == "attach" ? Framing::Attach : Framing::TestRun;
    replay.runs = std::max<uint64_t>(options_.repeat, 1);
    replay.untimed = std::min<uint64_t>(options_.repeat / 10, 1000);
    replay.per_packet = options_.per_packet;
    replay.progress = !options_.json;
    if (report.has_events) replay.after_batch = [this] { report.events.drain(); };
    replay.redirect_name = [this](const RedirectTarget& target) { return redirect_name(target); };
    return replay;
}

Result<void> Session::run() {
    failure_ = Exit::BadUsage;
    const ProgType& type = *report.type;
    if (type.packet) return run_packets();
    if (!options_.pcap.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    "--pcap: programs of type " + std::string(type.name) +
                        " have no packet; give their context with --ctx-hex or --ctx");
    }
    ReplayOptions replay = replay_options();
    if (type.ctx->is_bytes) {
        if (type.kind != ProgKind::Raw || object_) {
            SKEP_TRY(raw_data_, context_bytes());
        }
        std::vector<BytesInput> contexts(1);
        contexts.front().bytes = raw_data_;
        if (is_iterator()) {
            SKEP_TRY(contexts, iteration());
        }
        report.outcome = replay_bytes(report.loaded, contexts, replay);
        report.seq = std::move(seq_);
        return {};
    }
    SKEP_TRY(replay.edits, context_edits());
    SKEP_TRY(const auto data, input());
    report.outcome = replay_context(report.loaded, data, replay);
    return {};
}

// Timers and work that the runs left behind and that is due by now.
void Session::run_due() {
    constexpr unsigned kMostRounds = 1000;  // what starts itself again never ends
    for (unsigned round = 0; round < kMostRounds; ++round) {
        const uint64_t now = real_clock_ ? os::monotonic_ns() : now_;
        const auto next = vm_->next_timer();
        if (!next || *next > now) return;
        const auto runs = vm_->run_timers(now);
        if (!runs || runs->fired == 0) return;
        report.outcome->timers_fired += runs->fired;
        if (runs->trapped == 0) continue;
        report.outcome->trapped += runs->trapped;
        if (!report.outcome->trap) report.outcome->trap = report.loaded.describe(runs->first_trap);
    }
}

bool Session::is_iterator() const {
    return report.type->kind == ProgKind::Tracing &&
           static_cast<AttachType>(attach_type_) == AttachType::TraceIter;
}

// The contexts of an iteration: the elements that there are (the current task; maps; a map's
// elements; nothing of other kinds), and a last call without one. The first argument leads to
// struct bpf_iter_meta.
Result<std::vector<BytesInput>> Session::iteration() {
    const std::string_view target = object_ ? iterator_target() : "";
    BytesInput last{.bytes = raw_data_};
    const auto put = [](BytesInput& input, size_t word, uint64_t value) {
        if ((word + 1) * sizeof value <= input.bytes.size())
            std::memcpy(input.bytes.data() + word * sizeof value, &value, sizeof value);
    };
    put(last, 0, kIterMetaAddress);
    put(last, 1, 0);
    std::vector<BytesInput> inputs;
    if (target == "bpf_map_elem" || target == "sockmap") {
        SKEP_TRY(const auto map, iterated_map(target == "sockmap"));
        last.map = map.get();
        SKEP_TRY(inputs, elements(*map, last));
    } else if (target == "bpf_map") {
        for (const auto& map : vm_->maps()) {
            inputs.push_back(last);
            inputs.back().map = map.get();
        }
    } else if (const uint64_t task = report.loaded.task_address();
               task != 0 && target.starts_with("task")) {
        inputs.push_back(last);
        put(inputs.back(), 1, task);
    }
    inputs.push_back(std::move(last));
    return inputs;
}

// The map of --iterate, or the first one whose elements can be gone through.
Result<std::shared_ptr<Map>> Session::iterated_map(bool of_sockets) const {
    if (!options_.iterate.empty()) {
        auto map = find_map(options_.iterate);
        if (!map) return std::unexpected(with_prefix("--iterate: ", std::move(map).error()));
        return *map;
    }
    for (const auto& map : vm_->maps()) {
        switch (map->def().type) {
            case MapType::Sockmap:
            case MapType::Sockhash:
                if (of_sockets) return map;
                break;
            case MapType::Hash:
            case MapType::PercpuHash:
            case MapType::LruHash:
            case MapType::LruPercpuHash:
            case MapType::Array:
            case MapType::PercpuArray:
                if (!of_sockets && map->def().name.find('.') == std::string::npos) return map;
                break;
            default: break;
        }
    }
    return fail(ErrorCode::NotFound, "there is no map to go through; --iterate names one");
}

Result<std::vector<BytesInput>> Session::elements(Map& map, const BytesInput& context) const {
    constexpr size_t kMost = 1u << 20;
    std::vector<BytesInput> inputs;
    std::vector<std::byte> key(map.def().key_size), next(key.size());
    const std::byte* from = nullptr;
    while (map.next_key(from, next.data()) == 0) {
        if (inputs.size() == kMost)
            return fail(ErrorCode::InvalidArgument, "map " + map.def().name +
                                                        " has more elements than the 1048576 that "
                                                        "can be gone through");
        key = next;
        from = key.data();
        BytesInput input = context;
        input.key = key;
        input.value.resize(map.host_value_size());
        if (map.host_lookup(key.data(), input.value, 0) != 0) continue;
        inputs.push_back(std::move(input));
    }
    return inputs;
}

std::string_view Session::iterator_target() const {
    const auto index = object_->find_program(report.program);
    return index ? object_->programs()[*index].attach_target : std::string_view();
}

Result<void> Session::run_packets() {
    ReplayOptions replay = replay_options();
    SKEP_TRY(replay.edits, context_edits());
    Capture capture;
    if (!options_.pcap.empty()) {
        SKEP_TRY(capture, read_capture(options_.pcap));
        if (!capture.note.empty()) warn("--pcap: reading ended early: " + escaped(capture.note));
        report.from_capture = true;
        report.truncated = capture.truncated;
        if (packet_clock_) {
            replay.clock = &now_;
            replay.timers = &*vm_;
        }
    } else {
        SKEP_TRY(capture.bytes, input());
        if (capture.bytes.empty()) capture.bytes.resize(kSmallestFrame);
        const auto length = static_cast<uint32_t>(capture.bytes.size());
        capture.frames.push_back({.length = length, .wire_length = length, .time_ns = now_});
    }
    std::optional<CaptureWriter> writer;
    if (!options_.out.empty()) {
        SKEP_TRY(writer, CaptureWriter::create(options_.out));
        replay.out = &*writer;
    }
    report.outcome = replay_packets(report.loaded, capture, replay);
    if (writer) SKEP_CHECK(writer->close());
    return {};
}

}  // namespace skep::tool
