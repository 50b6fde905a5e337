#include "bench/engines.hpp"

#include <array>

#include <skep/context.hpp>

#include "vm/base/try.hpp"
#include "vm/isa/codec.hpp"
#include "vm/prog/program.hpp"
#include "vm/run/lower.hpp"
#include "vm/run/run_area.hpp"
#include "vm/run/threaded.hpp"
#ifdef SKEP_HAS_JIT
#include "jit/jit.hpp"
#endif

namespace skep::bench {
namespace {

class NativeRunner final : public Runner {
public:
    explicit NativeRunner(const Kernel& kernel) : function_(kernel.native) {}
    Result<uint64_t> check(std::span<uint8_t> memory) override { return run(memory); }
    uint64_t run(std::span<uint8_t> memory) override {
        return function_(memory.data(), memory.size());
    }

private:
    uint64_t (*function_)(uint8_t*, uint64_t);
};

// An image and its code, in either form.
class ImageRunner final : public Runner {
public:
    ImageRunner(std::unique_ptr<RunArea> area, std::shared_ptr<Image> image,
                std::shared_ptr<const Code> code)
        : area_(std::move(area)), image_(std::move(image)), code_(std::move(code)) {
        image_->code = code_.get();
    }

    Result<uint64_t> check(std::span<uint8_t> memory) override {
        const uint64_t r0 = run(memory);
        if (area_->trap == TrapCode::None) return r0;
        return fail(ErrorCode::Internal, "trapped: " + std::string(text_of(area_->trap)),
                    Where{.slot = area_->trap_slot});
    }
    uint64_t run(std::span<uint8_t> memory) override {
        BytesContext context{reinterpret_cast<std::byte*>(memory.data()), memory.size()};
        return run_program(*area_, {.image = image_.get(), .code = code_.get(), .ctx = &context});
    }

private:
    std::unique_ptr<RunArea> area_;
    std::shared_ptr<Image> image_;
    std::shared_ptr<const Code> code_;
};

Result<std::shared_ptr<const Program>> program_of(const Kernel& kernel) {
    SKEP_TRY(Program program, make_raw_program(kernel.slots, *find_prog_type(ProgKind::Raw), {}));
    program.name = kernel.name;
    program.raw_size = kMemoryBytes;
    return std::make_shared<const Program>(std::move(program));
}

Result<std::unique_ptr<Runner>> load_native(const Kernel& kernel) {
    return std::make_unique<NativeRunner>(kernel);
}

enum class Runs : uint8_t { Interpreted, Native };

Result<std::shared_ptr<const Code>> build_code(const Image& image, Runs runs) {
    if (runs == Runs::Interpreted) return ThreadedCode::build(image);
#ifdef SKEP_HAS_JIT
    SKEP_TRY(const auto arena, jit::CodeArena::create());
    return jit::compile(image, arena);
#else
    return fail(ErrorCode::NoJit, "built without native code");
#endif
}

template <Form kForm, Runs kRuns>
Result<std::unique_ptr<Runner>> load_image(const Kernel& kernel) {
    SKEP_TRY(auto program, program_of(kernel));
    // Unchecked as a verified program whose work is bounded: without fuel.
    SKEP_TRY(auto image, kForm == Form::Sandbox
                             ? lower_checked(std::move(program), nullptr, {})
                             : lower_unchecked(std::move(program), nullptr, {.fuel = false}));
    SKEP_TRY(auto code, build_code(*image, kRuns));
    SKEP_TRY(auto area, RunArea::create());
    return std::make_unique<ImageRunner>(std::move(area), std::move(image), std::move(code));
}

constexpr auto kEngines = std::to_array<Engine>({
    {"native", load_native},
    {"interp", load_image<Form::Unchecked, Runs::Interpreted>},
    {"sandbox", load_image<Form::Sandbox, Runs::Interpreted>},
#ifdef SKEP_HAS_JIT
    {"jit", load_image<Form::Unchecked, Runs::Native>},
    {"jit_sandbox", load_image<Form::Sandbox, Runs::Native>},
#endif
});

}  // namespace

std::span<const Engine> engines() { return kEngines; }

}  // namespace skep::bench
