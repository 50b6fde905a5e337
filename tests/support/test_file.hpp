// `.test` files: inputs and expectations of any stage in one text.
//
//   # comment
//   == name of a case          a file has one case or several; without this line, one
//   -- asm                     inputs, see harness.hpp
//     r0 = 5
//     exit
//   -- result 0x5              expectations: words on the line, text below, or both
//
// Parsing keeps every line, so that a file can be written back with only its expectations changed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

namespace skep::test {

struct Section {
    std::string name;   // "asm"
    std::string words;  // the rest of the line
    std::string body;   // the lines below, as they are
    bool operator==(const Section&) const = default;
};

struct TestCase {
    std::string title;    // of the `==` line, empty without one
    std::string prelude;  // comments before the first section
    std::vector<Section> sections;

    const Section* find(std::string_view name) const;
};

struct TestFile {
    std::vector<TestCase> cases;
};

Result<TestFile> parse_test_file(std::string_view text);
std::string to_text(const TestFile& file);

// Leading and trailing blanks and line ends removed, also from every line.
std::string trimmed(std::string_view text);
// The lines of two texts that differ, marked - (expected) and + (actual), with two lines around.
std::string diff(std::string_view expected, std::string_view actual);

}  // namespace skep::test
