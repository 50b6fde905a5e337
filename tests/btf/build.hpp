// Builds BTF bytes by hand, so that tests can say exactly what is in them, also what is wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace skep::test {

class BtfBuilder {
public:
    uint32_t string(std::string_view text) {
        if (text.empty()) return 0;
        const uint32_t at = static_cast<uint32_t>(strings_.size());
        strings_.append(text).push_back('\0');
        return at;
    }
    // Adds a record; returns its id.
    uint32_t add(std::string_view name, uint32_t kind, uint32_t count, uint32_t size_or_type,
                 std::vector<uint32_t> extra = {}, bool flag = false) {
        for (const uint32_t w :
             {string(name), uint32_t{flag} << 31 | kind << 24 | count, size_or_type})
            words_.push_back(w);
        words_.insert(words_.end(), extra.begin(), extra.end());
        return next_++;
    }
    uint32_t add_int(std::string_view name, uint32_t bytes, bool is_signed = false) {
        return add(name, 1, 0, bytes, {bytes * 8 | (is_signed ? 1u << 24 : 0)});
    }
    uint32_t next() const { return next_; }
    std::vector<uint32_t>& words() { return words_; }

    std::string bytes() const {
        const uint32_t types = static_cast<uint32_t>(words_.size() * 4);
        const uint32_t header[6] = {0x0001eb9f, 24,    0,
                                    types,      types, static_cast<uint32_t>(strings_.size())};
        std::string out(reinterpret_cast<const char*>(header), sizeof header);
        out.append(reinterpret_cast<const char*>(words_.data()), types);
        return out + strings_;
    }

private:
    std::string strings_ = std::string(1, '\0');
    std::vector<uint32_t> words_;
    uint32_t next_ = 1;
};

}  // namespace skep::test
