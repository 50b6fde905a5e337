// The operating system, as far as the library needs it: pages, clocks, randomness.
// These are the only system calls in the library's core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <skep/error.hpp>

namespace skep::os {

size_t page_size() noexcept;

// A range of pages, unmapped on destruction. Move-only; the address does not change on a move.
class Pages {
public:
    Pages() = default;
    Pages(Pages&& other) noexcept;
    Pages& operator=(Pages&& other) noexcept;
    ~Pages();

    // `size` bytes (rounded up to pages) of zeroed memory; physical pages come on first touch.
    // With `guard`, an inaccessible page stands before and behind.
    static Result<Pages> allocate(size_t size, bool guard = false);

    std::byte* data() const noexcept { return data_; }
    size_t size() const noexcept { return size_; }

    // Gives the physical pages of [offset, offset + length) back; they read as zero again.
    void discard(size_t offset, size_t length) noexcept;
    Result<void> make_read_only() noexcept;

private:
    std::byte* mapping_ = nullptr;
    size_t mapping_size_ = 0;
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

uint64_t monotonic_ns() noexcept;         // CLOCK_MONOTONIC
uint64_t boot_ns() noexcept;              // CLOCK_BOOTTIME
uint64_t monotonic_coarse_ns() noexcept;  // CLOCK_MONOTONIC_COARSE
uint64_t tai_ns() noexcept;               // CLOCK_TAI
void random_bytes(std::span<std::byte> out) noexcept;
unsigned cpu_count() noexcept;  // CPUs that this process may run on, at least 1

// A whole file; refuses anything over `limit` bytes.
Result<std::string> read_file(const std::string& path, size_t limit = size_t{1} << 30);

}  // namespace skep::os
