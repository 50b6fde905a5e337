// Test cases out of files, each a test of its own under a name of its own.
#pragma once

#include <cctype>
#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <utility>

namespace skep::test {

// Stands for the cases of a file that cannot be read.
class UnreadableFile : public ::testing::Test {
public:
    explicit UnreadableFile(std::string message) : message_(std::move(message)) {}
    void TestBody() override { FAIL() << message_; }

private:
    std::string message_;
};

// Letters, digits, slashes and single underscores, as filters on the command line want them.
inline std::string test_name(std::string_view text) {
    std::string name;
    for (const char c : text) {
        const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '/';
        if (plain) name += c;
        if (!plain && !name.ends_with('_')) name += '_';
    }
    while (name.ends_with('_')) name.pop_back();
    return name;
}

}  // namespace skep::test
