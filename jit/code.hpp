// Executable memory: whole pages of one reserved range near the library's own code, so that helper
// calls are direct. Pages are written while nobody can execute them and are never writable after;
// freed pages are recycled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include <skep/error.hpp>

namespace skep::jit {

class CodeArena;

// Pages that hold one image's code; given back to the arena on destruction. Move-only.
class CodePages {
public:
    CodePages() = default;
    CodePages(CodePages&& other) noexcept;
    CodePages& operator=(CodePages&& other) noexcept;
    ~CodePages();

    std::byte* data() const noexcept { return data_; }
    size_t size() const noexcept { return size_; }
    // Writable -> executable, for good; clears the instruction cache. no_jit if it is refused.
    Result<void> seal() noexcept;

private:
    friend class CodeArena;
    std::shared_ptr<CodeArena> arena_;
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

// Thread-safe. Lives as long as any of its pages.
class CodeArena : public std::enable_shared_from_this<CodeArena> {
public:
    // Reserves address space only; no_jit when that fails.
    static Result<std::shared_ptr<CodeArena>> create(size_t bytes = size_t{64} << 20);
    ~CodeArena();
    CodeArena(const CodeArena&) = delete;
    CodeArena& operator=(const CodeArena&) = delete;

    // Writable pages for `size` bytes.
    Result<CodePages> allocate(size_t size);

private:
    CodeArena() = default;
    friend class CodePages;
    void release(std::byte* data, size_t size) noexcept;

    std::mutex mutex_;
    std::byte* base_ = nullptr;
    size_t size_ = 0;
    std::vector<bool> used_;  // by page
};

}  // namespace skep::jit
