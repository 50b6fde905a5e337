#include "jit/jit.hpp"

#include <algorithm>
#include <asmjit/core.h>
#include <cstring>

#include "jit/masm_a64.hpp"
#include "jit/masm_x64.hpp"
#include "jit/observe.hpp"
#include "jit/translate.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/run/run_area.hpp"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace skep::jit {

namespace {

#if defined(__x86_64__)
using HostMasm = MasmX64;
constexpr Target kHostTarget = Target::X64;
constexpr bool kAvailable = true;
#elif defined(__aarch64__)
using HostMasm = MasmA64;
constexpr Target kHostTarget = Target::A64;
constexpr bool kAvailable = true;
#else
using HostMasm = MasmX64;
constexpr Target kHostTarget = Target::X64;
constexpr bool kAvailable = false;
#endif

// asmjit reports errors where they happen; the first is kept and looked at once, at the end.
class FirstError final : public asmjit::ErrorHandler {
public:
    void handleError(asmjit::Error error, const char* message, asmjit::BaseEmitter*) override {
        if (code_ != asmjit::kErrorOk) return;
        code_ = error;
        message_ = message;
    }
    bool is_displacement() const {
        return code_ == asmjit::kErrorInvalidDisplacement ||
               code_ == asmjit::kErrorRelocOffsetOutOfRange;
    }
    Result<void> check(asmjit::Error error = asmjit::kErrorOk) const {
        if (code_ == asmjit::kErrorOk && error == asmjit::kErrorOk) return {};
        return fail(ErrorCode::Internal,
                    "the assembler refused: " +
                        (message_.empty() ? std::string(asmjit::DebugUtils::errorAsString(error))
                                          : message_));
    }

private:
    asmjit::Error code_ = asmjit::kErrorOk;
    std::string message_;
};

asmjit::Environment environment(Target target) {
    return asmjit::Environment(target == Target::X64 ? asmjit::Arch::kX64 : asmjit::Arch::kAArch64);
}

struct EntryPoint {
    uint32_t subprogram = 0;
    uint64_t offset = 0;
};

// What a translation is assembled into.
class Sheet {
public:
    explicit Sheet(Target target) : environment_(environment(target)) {}

    // Starts, or starts over. `logger` may be null.
    Result<void> start(asmjit::Logger* logger) {
        holder_.reset();
        errors_ = FirstError();
        if (const asmjit::Error e = holder_.init(environment_)) return errors_.check(e);
        holder_.setErrorHandler(&errors_);
        if (logger != nullptr) holder_.setLogger(logger);
        return {};
    }
    asmjit::CodeHolder& holder() { return holder_; }
    const FirstError& errors() const { return errors_; }

private:
    asmjit::Environment environment_;
    FirstError errors_;
    asmjit::CodeHolder holder_;
};

// Everything that one translation yields, with labels resolved to offsets.
struct Translated {
    std::vector<EntryPoint> entries;
    std::vector<CodePosition> positions;
    std::vector<uint32_t> functions;  // by subprogram, and where the last one ends
    bool bare = false;
};

template <class M>
Result<Translated> translate_once(Sheet& sheet, const Image& image, const Features& features,
                                  bool no_short_jumps) {
    asmjit::CodeHolder& holder = sheet.holder();
    const FirstError& errors = sheet.errors();
    M masm(holder, features);
    Translator<M> translator(masm, image, no_short_jumps);
    if (!translator.can_translate()) {
        return fail(ErrorCode::NoJit, "control passes between subprograms other than by calls");
    }
    translator.translate();
    SKEP_CHECK(errors.check());
    SKEP_CHECK(errors.check(holder.flatten()));
    SKEP_CHECK(errors.check(holder.resolveUnresolvedLinks()));
    Translated out;
    for (const auto& entry : translator.entries()) {
        out.entries.push_back({entry.subprogram, masm.label_position(entry.label)});
    }
    out.positions = translator.positions();
    out.functions = translator.function_offsets();
    out.bare = translator.is_bare();
    return out;
}

// Which jumps are short is predicted. Where a prediction is wrong, all of them are long.
template <class M>
Result<Translated> translate(Sheet& sheet, const Image& image, const Features& features,
                             asmjit::StringLogger* logger = nullptr) {
    SKEP_CHECK(sheet.start(logger));
    Result<Translated> translated = translate_once<M>(sheet, image, features, false);
    if (translated || !sheet.errors().is_displacement()) return translated;
    if (logger != nullptr) logger->clear();
    SKEP_CHECK(sheet.start(logger));
    return translate_once<M>(sheet, image, features, true);
}

class NativeCode final : public Code {
public:
    NativeCode(const Image& image, CodePages pages, const std::byte* start, size_t bytes,
               Translated translated)
        : image_(&image),
          pages_(std::move(pages)),
          start_(start),
          bytes_(bytes),
          positions_(std::move(translated.positions)),
          entries_(image.functions.size(), nullptr) {
        for (const EntryPoint& e : translated.entries) {
            const std::byte* address = start + e.offset;
            std::memcpy(&entries_[e.subprogram], &address, sizeof(address));
        }
        direct_ = entries_[0];
        bare_ = translated.bare;
    }

    CallResult enter(HelperEnv& env, uint32_t subprogram,
                     const uint64_t (&args)[5]) const noexcept override {
        RunArea& area = static_cast<RunArea&>(env);
        const Entry entry = entries_[subprogram];
        EnteredFrame frame(area, image_->frames[subprogram]);
        if (entry == nullptr) area.fail(TrapCode::BadArgument);
        if (area.trap != TrapCode::None) {
            area.trapped_at(*image_, image_->program->subprograms[subprogram].first);
            return {0, true};
        }
        area.stack_host =
            reinterpret_cast<uintptr_t>(area.frame_bottom) + image_->frames[subprogram].bytes;
        area.stack_delta = area.sandbox ? frame.r10 - area.stack_host : 0;
        const uint64_t r0 = entry(args[0], args[1], args[2], args[3], args[4], &env);
        if (area.trap == TrapCode::None) return {r0, false};
        area.trapped_at(*image_, area.native_slot);
        return {0, true};
    }

    size_t native_bytes() const noexcept override { return bytes_; }
    void keep(std::unique_ptr<GdbObject> object) { gdb_object_ = std::move(object); }

    uint32_t slot_at(const void* pc) const noexcept override {
        const auto distance = reinterpret_cast<uintptr_t>(pc) - reinterpret_cast<uintptr_t>(start_);
        if (distance >= bytes_) return kNoSlot;
        const auto behind = std::upper_bound(
            positions_.begin(), positions_.end(), distance,
            [](uint64_t offset, const CodePosition& p) { return offset < p.offset; });
        return behind == positions_.begin() ? image_->functions[0].slot : behind[-1].slot;
    }

private:
    const Image* image_;
    CodePages pages_;
    const std::byte* start_;
    size_t bytes_;
    std::vector<CodePosition> positions_;
    std::unique_ptr<GdbObject> gdb_object_;
    std::vector<Entry> entries_;  // by subprogram; null: not entered from C++
};

// The functions of the code, and what lies behind them, by names that say whose they are.
std::vector<CodeSymbol> symbols_of(const Image& image, const Translated& translated,
                                   const std::byte* start, size_t size) {
    const Program& program = *image.program;
    const auto at = [start](uint64_t offset) {
        return reinterpret_cast<uintptr_t>(start) + offset;
    };
    std::vector<CodeSymbol> symbols;
    for (size_t f = 0; f + 1 < translated.functions.size(); ++f) {
        const uint32_t first = translated.functions[f], end = translated.functions[f + 1];
        std::string name = "skep:" + program.name;
        if (f != 0) name += "/" + program.subprograms[f].name;
        symbols.push_back({std::move(name), at(first), end - first});
    }
    const uint32_t behind = translated.functions.back();
    if (behind < size)
        symbols.push_back({"skep:" + program.name + "/out_of_line", at(behind), size - behind});
    return symbols;
}

// Where in its pages the code starts: a multiple of 64 that differs from load to load.
size_t random_start(size_t room) {
    uint32_t r = 0;
    os::random_bytes(std::as_writable_bytes(std::span(&r, 1)));
    return r % (room / 64 + 1) * 64;
}

// What fills pages around the code: an instruction that traps.
void fill_with_traps(std::byte* data, size_t size) {
    if (kHostTarget == Target::X64)
        std::memset(data, 0xcc, size);
    else
        std::memset(data, 0, size);  // udf #0
}

}  // namespace

Features Features::host() noexcept {
    Features f;
#if defined(__x86_64__)
    f.bmi2 = __builtin_cpu_supports("bmi2") != 0;
    f.movbe = asmjit::CpuInfo::host().hasFeature(asmjit::CpuFeatures::X86::kMOVBE);
#elif defined(__aarch64__)
    constexpr unsigned long kAtomics = 1ul << 8;  // HWCAP_ATOMICS
    f.lse = (::getauxval(AT_HWCAP) & kAtomics) != 0;
#endif
    return f;
}

bool available() noexcept { return kAvailable; }

Result<std::shared_ptr<const Code>> compile(const Image& image,
                                            const std::shared_ptr<CodeArena>& arena,
                                            Announce announce) {
    if (!kAvailable) return fail(ErrorCode::NoJit, "no native code for this processor");
    Sheet sheet(kHostTarget);
    SKEP_TRY(Translated translated, translate<HostMasm>(sheet, image, Features::host()));
    const FirstError& errors = sheet.errors();
    asmjit::CodeHolder& holder = sheet.holder();

    constexpr size_t kMaxShift = 1024;
    const size_t size = holder.codeSize();
    SKEP_TRY(CodePages pages, arena->allocate(size + kMaxShift));
    fill_with_traps(pages.data(), pages.size());
    std::byte* start = pages.data() + random_start(kMaxShift);
    SKEP_CHECK(errors.check(holder.relocateToBase(reinterpret_cast<uintptr_t>(start))));
    const size_t final_size = holder.codeSize();
    SKEP_CHECK(errors.check(holder.copyFlattenedData(start, final_size)));
    SKEP_CHECK(pages.seal());
    std::vector<CodeSymbol> symbols;
    if (announce.perf_map || announce.gdb_jit)
        symbols = symbols_of(image, translated, start, final_size);
    auto code = std::make_shared<NativeCode>(image, std::move(pages), start, final_size,
                                             std::move(translated));
    if (announce.perf_map) append_perf_map(symbols);
    if (announce.gdb_jit) code->keep(std::make_unique<GdbObject>(symbols));
    return code;
}

Result<Listing> assemble(const Image& image, Target target, const Features& features, bool text) {
    asmjit::StringLogger logger;
    logger.addFlags(asmjit::FormatFlags::kMachineCode);
    Sheet sheet(target);
    Listing listing;
    asmjit::StringLogger* const log = text ? &logger : nullptr;
    Result<Translated> translated = target == Target::X64
                                        ? translate<MasmX64>(sheet, image, features, log)
                                        : translate<MasmA64>(sheet, image, features, log);
    if (!translated) return std::unexpected(std::move(translated).error());
    const FirstError& errors = sheet.errors();
    asmjit::CodeHolder& holder = sheet.holder();
    SKEP_CHECK(errors.check(holder.relocateToBase(uint64_t{1} << 32)));
    listing.bytes.resize(holder.codeSize());
    SKEP_CHECK(errors.check(holder.copyFlattenedData(listing.bytes.data(), listing.bytes.size())));
    listing.positions = std::move(translated->positions);
    listing.text.assign(logger.data(), logger.dataSize());
    return listing;
}

}  // namespace skep::jit
