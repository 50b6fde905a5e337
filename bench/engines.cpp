#include "bench/engines.hpp"

#include <algorithm>
#include <array>

#include <skep/context.hpp>
#include <skep/object.hpp>

#include "bench/call_maps.hpp"
#include "bench/kernel_engine.hpp"
#include "bench/switch_interpreter.hpp"
#include "helpers/table.hpp"
#include "verifier/verifier.hpp"
#include "vm/base/os.hpp"
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

class SwitchRunner final : public Runner {
public:
    explicit SwitchRunner(const Kernel& kernel) : slots_(kernel.slots) {}
    Result<uint64_t> check(std::span<uint8_t> memory) override { return run(memory); }
    uint64_t run(std::span<uint8_t> memory) override {
        return switch_interpret(slots_, reinterpret_cast<uintptr_t>(memory.data()), memory.size());
    }

private:
    std::vector<RawInsn> slots_;
};

Result<std::unique_ptr<Runner>> load_switch(const Kernel& kernel) {
    if (kernel.group == Group::Calls || !switch_can_interpret(kernel.slots))
        return fail(ErrorCode::UnsupportedInsn, "the switch interpreter knows no helpers");
    return std::make_unique<SwitchRunner>(kernel);
}

// An image and its code, in either form.
class ImageRunner final : public Runner {
public:
    ImageRunner(std::unique_ptr<RunArea> area, std::shared_ptr<Image> image,
                std::shared_ptr<const skep::Code> code, uint64_t compile_ns)
        : area_(std::move(area)),
          image_(std::move(image)),
          code_(std::move(code)),
          compile_ns_(compile_ns) {
        image_->code = code_.get();
    }

    Result<uint64_t> check(std::span<uint8_t> memory) override {
        const uint64_t r0 = run(memory);
        if (area_->trap == TrapCode::None) return r0;
        return fail(ErrorCode::Internal, "trapped: " + std::string(text_of(area_->trap)),
                    Where{.slot = area_->trap_slot});
    }
    uint64_t run(std::span<uint8_t> memory) override {
        auto* data = reinterpret_cast<std::byte*>(memory.data());
        if (!image_->raw) {
            XdpContext context;
            context.packet = {data, data, data, data + memory.size(), data + memory.size()};
            return run_program(*area_, {.image = image_.get(),
                                        .code = code_.get(),
                                        .ctx = &context,
                                        .packet = &context.packet});
        }
        BytesContext context{data, memory.size()};
        return run_program(*area_, {.image = image_.get(), .code = code_.get(), .ctx = &context});
    }
    Code code() const override { return {code_->native_bytes(), compile_ns_}; }

private:
    std::unique_ptr<RunArea> area_;
    std::shared_ptr<Image> image_;
    std::shared_ptr<const skep::Code> code_;
    uint64_t compile_ns_;
};

Result<std::shared_ptr<const Program>> program_of(const Kernel& kernel) {
    if (kernel.group == Group::Calls) return linked_program(kernel);
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
    static const auto arena = jit::CodeArena::create();
    if (!arena) return std::unexpected(arena.error());
    return jit::compile(image, *arena);
#else
    return fail(ErrorCode::NoJit, "built without native code");
#endif
}

Result<Binding> binding_of(const Program& program) {
    Binding binding;
    for (const auto& def : program.maps) {
        SKEP_TRY(auto map, filled_map(*def));
        binding.maps.push_back(std::move(map));
    }
    binding.helper = [type = program.type](uint32_t id) { return find_helper(id, *type); };
    return binding;
}

// Unchecked: kernels of instructions only as a verified program whose work is bounded, without fuel
// and without facts; those that call helpers really verified, since lookups depend on the facts.
Result<std::shared_ptr<Image>> lower_as(Form form, const Kernel& kernel) {
    SKEP_TRY(auto program, program_of(kernel));
    SKEP_TRY(Binding binding, binding_of(*program));
    if (form == Form::Sandbox)
        return lower_checked(std::move(program), nullptr, std::move(binding));
    binding.fuel = false;
    if (kernel.group != Group::Calls)
        return lower_unchecked(std::move(program), nullptr, std::move(binding));
    Analysis analysis;
    const VerifiedProgram verified = analyze(program, {}, analysis);
    if (!verified) return std::unexpected(analysis.error);
    return lower(verified, std::move(binding));
}

template <Form kForm, Runs kRuns>
Result<std::unique_ptr<Runner>> load_image(const Kernel& kernel) {
    SKEP_TRY(auto image, lower_as(kForm, kernel));
    const uint64_t start = os::monotonic_ns();
    SKEP_TRY(auto code, build_code(*image, kRuns));
    uint64_t compile_ns = os::monotonic_ns() - start;
    // The first time pays for everything that is touched first; the best of some is the cost.
    for (int i = 0; i < 5; ++i) {
        const uint64_t again = os::monotonic_ns();
        SKEP_TRY(const auto other, build_code(*image, kRuns));
        compile_ns = std::min(compile_ns, os::monotonic_ns() - again);
    }
    SKEP_TRY(auto area, RunArea::create());
    return std::make_unique<ImageRunner>(std::move(area), std::move(image), std::move(code),
                                         compile_ns);
}

constexpr auto kEngines = std::to_array<Engine>({
    {"native", false, load_native},
    {"switch", false, load_switch},
    {"interp", false, load_image<Form::Unchecked, Runs::Interpreted>},
    {"sandbox", false, load_image<Form::Sandbox, Runs::Interpreted>},
#ifdef SKEP_HAS_JIT
    {"jit", false, load_image<Form::Unchecked, Runs::Native>},
    {"jit_sandbox", false, load_image<Form::Sandbox, Runs::Native>},
#endif
    {"kernel", true, load_into_kernel},
});

}  // namespace

Result<std::shared_ptr<const Program>> linked_program(const Kernel& kernel) {
    SKEP_TRY(const Object object,
             Object::open_memory(std::as_bytes(kernel.object), std::string(kernel.name)));
    SKEP_TRY(Program program, object.link(size_t{0}));
    return std::make_shared<const Program>(std::move(program));
}

std::span<const Engine> engines() {
    static const size_t count = kEngines.size() - (kernel_engine_available() ? 0 : 1);
    return std::span(kEngines).first(count);
}

}  // namespace skep::bench
