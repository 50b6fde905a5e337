#include "jit/code.hpp"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

#include "vm/base/os.hpp"

namespace skep::jit {

CodePages::CodePages(CodePages&& other) noexcept
    : arena_(std::move(other.arena_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

CodePages& CodePages::operator=(CodePages&& other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

CodePages::~CodePages() {
    if (arena_ != nullptr) arena_->release(data_, size_);
}

Result<void> CodePages::seal() noexcept {
    if (::mprotect(data_, size_, PROT_READ | PROT_EXEC) != 0) {
        return fail(ErrorCode::NoJit,
                    std::string("executable memory is refused: ") + std::strerror(errno));
    }
    __builtin___clear_cache(reinterpret_cast<char*>(data_), reinterpret_cast<char*>(data_ + size_));
    return {};
}

Result<std::shared_ptr<CodeArena>> CodeArena::create(size_t bytes) {
    std::shared_ptr<CodeArena> arena(new CodeArena);
    const size_t page = os::page_size();
    bytes = (bytes + page - 1) / page * page;
    // Near this function, first below and then above, so that rel32 reaches the helpers.
    const uintptr_t here = reinterpret_cast<uintptr_t>(&CodeArena::create) & ~(uintptr_t{page} - 1);
    void* p = MAP_FAILED;
    constexpr uintptr_t kStep = uintptr_t{64} << 20, kReach = uintptr_t{1} << 30;
    for (uintptr_t distance = kStep * 2; distance < kReach && p == MAP_FAILED; distance += kStep) {
        for (const bool below : {true, false}) {
            if (below && distance > here) continue;
            const uintptr_t want = below ? here - distance : here + distance;
            p = ::mmap(reinterpret_cast<void*>(want), bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
            if (p != MAP_FAILED) break;
        }
    }
    if (p == MAP_FAILED) {
        p = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (p == MAP_FAILED) {
        return fail(ErrorCode::NoJit,
                    std::string("cannot reserve code memory: ") + std::strerror(errno));
    }
    arena->base_ = static_cast<std::byte*>(p);
    arena->size_ = bytes;
    arena->used_.resize(bytes / page);
    return arena;
}

CodeArena::~CodeArena() {
    if (base_ != nullptr) ::munmap(base_, size_);
}

Result<CodePages> CodeArena::allocate(size_t size) {
    const size_t page = os::page_size();
    const size_t wanted = size / page + 1;
    const std::lock_guard lock(mutex_);
    size_t run = 0;
    for (size_t i = 0; i < used_.size(); ++i) {
        run = used_[i] ? 0 : run + 1;
        if (run < wanted) continue;
        const size_t first = i + 1 - wanted;
        std::byte* data = base_ + first * page;
        if (::mprotect(data, wanted * page, PROT_READ | PROT_WRITE) != 0) {
            return fail(ErrorCode::NoJit, std::string("code memory: ") + std::strerror(errno));
        }
        for (size_t k = first; k <= i; ++k) used_[k] = true;
        CodePages pages;
        pages.arena_ = shared_from_this();
        pages.data_ = data;
        pages.size_ = wanted * page;
        return pages;
    }
    return fail(ErrorCode::LimitExceeded, "no room for " + std::to_string(size) +
                                              " bytes of native code in " + std::to_string(size_));
}

void CodeArena::release(std::byte* data, size_t size) noexcept {
    const size_t page = os::page_size();
    // Dropped and unreachable at once: stale code cannot be run.
    ::mprotect(data, size, PROT_NONE);
    ::madvise(data, size, MADV_DONTNEED);
    const std::lock_guard lock(mutex_);
    const size_t first = static_cast<size_t>(data - base_) / page;
    for (size_t i = 0; i < size / page; ++i) used_[first + i] = false;
}

}  // namespace skep::jit
