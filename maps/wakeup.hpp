// An eventfd that exists once somebody asks for it.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <sys/eventfd.h>
#include <unistd.h>

namespace skep {

class Wakeup {
public:
    Wakeup() = default;
    ~Wakeup() {
        const int fd = fd_.load(std::memory_order_relaxed);
        if (fd >= 0) ::close(fd);
    }
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;

    // The descriptor, or a negative errno.
    int fd() noexcept {
        int fd = fd_.load(std::memory_order_acquire);
        if (fd >= 0) return fd;
        const int fresh = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fresh < 0) return -errno;
        if (!fd_.compare_exchange_strong(fd, fresh, std::memory_order_acq_rel)) {
            ::close(fresh);
            return fd;
        }
        // What came before the first question counts too.
        signal();
        return fresh;
    }
    void signal() noexcept {
        const int fd = fd_.load(std::memory_order_acquire);
        if (fd < 0) return;
        const uint64_t one = 1;
        // A full counter is a signal as well.
        static_cast<void>(!::write(fd, &one, sizeof(one)));
    }
    void reset() noexcept {
        const int fd = fd_.load(std::memory_order_acquire);
        if (fd < 0) return;
        uint64_t count = 0;
        static_cast<void>(!::read(fd, &count, sizeof(count)));
    }

private:
    std::atomic<int> fd_{-1};
};

}  // namespace skep
