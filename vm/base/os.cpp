#include "vm/base/os.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <utility>

namespace skep::os {

size_t page_size() noexcept {
    static const size_t size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

Pages::Pages(Pages&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_size_(std::exchange(other.mapping_size_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(mapping_size_, other.mapping_size_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Pages::~Pages() {
    if (mapping_ != nullptr) ::munmap(mapping_, mapping_size_);
}

Result<Pages> Pages::allocate(size_t size, bool guard) {
    const size_t page = page_size();
    if (size > SIZE_MAX - 4 * page) return fail(ErrorCode::OutOfMemory, "size too large");
    const size_t body = (size + page - 1) / page * page;
    const size_t total = body + (guard ? 2 * page : 0);
    if (body == 0) return Pages{};
    void* p = ::mmap(nullptr, total, guard ? PROT_NONE : PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return fail(ErrorCode::OutOfMemory,
                    "cannot reserve " + std::to_string(total) + " bytes: " + std::strerror(errno));
    }
    Pages pages;
    pages.mapping_ = static_cast<std::byte*>(p);
    pages.mapping_size_ = total;
    pages.data_ = pages.mapping_ + (guard ? page : 0);
    pages.size_ = body;
    if (guard && ::mprotect(pages.data_, body, PROT_READ | PROT_WRITE) != 0) {
        return fail(ErrorCode::OutOfMemory, std::string("mprotect: ") + std::strerror(errno));
    }
    return pages;
}

void Pages::discard(size_t offset, size_t length) noexcept {
    if (offset > size_ || length > size_ - offset) return;
    ::madvise(data_ + offset, length, MADV_DONTNEED);
}

Result<void> Pages::make_read_only() noexcept {
    if (data_ != nullptr && ::mprotect(data_, size_, PROT_READ) != 0) {
        return fail(ErrorCode::Os, std::string("mprotect: ") + std::strerror(errno));
    }
    return {};
}

namespace {
uint64_t clock_ns(clockid_t id) noexcept {
    timespec t{};
    ::clock_gettime(id, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}
}  // namespace

uint64_t monotonic_ns() noexcept { return clock_ns(CLOCK_MONOTONIC); }
uint64_t boot_ns() noexcept { return clock_ns(CLOCK_BOOTTIME); }
uint64_t monotonic_coarse_ns() noexcept { return clock_ns(CLOCK_MONOTONIC_COARSE); }
uint64_t tai_ns() noexcept { return clock_ns(CLOCK_TAI); }

void random_bytes(std::span<std::byte> out) noexcept {
    size_t done = 0;
    while (done < out.size()) {
        const ssize_t n = ::getrandom(out.data() + done, out.size() - done, 0);
        if (n > 0) done += static_cast<size_t>(n);
    }
}

unsigned cpu_count() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n > 0 ? static_cast<unsigned>(n) : 1;
}

Result<std::string> read_file(const std::string& path, size_t limit) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                               &std::fclose);
    if (!file) {
        return fail(ErrorCode::Unreadable, std::strerror(errno), Where{.object = path});
    }
    std::string out;
    char buffer[65536];
    while (const size_t n = std::fread(buffer, 1, sizeof(buffer), file.get())) {
        if (n > limit - out.size()) {
            return fail(ErrorCode::LimitExceeded,
                        "the file is larger than " + std::to_string(limit) + " bytes",
                        Where{.object = path});
        }
        out.append(buffer, n);
    }
    if (std::ferror(file.get()) != 0) {
        return fail(ErrorCode::Unreadable, std::strerror(errno), Where{.object = path});
    }
    return out;
}

}  // namespace skep::os
