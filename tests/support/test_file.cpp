#include "tests/support/test_file.hpp"

#include <algorithm>

namespace skep::test {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

std::string_view strip(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n";
    const size_t begin = text.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

}  // namespace

const Section* TestCase::find(std::string_view name) const {
    const auto found = std::ranges::find(sections, name, &Section::name);
    return found == sections.end() ? nullptr : &*found;
}

Result<TestFile> parse_test_file(std::string_view text) {
    TestFile file;
    file.cases.emplace_back();
    int64_t number = 0;
    for (const std::string_view line : lines_of(text)) {
        ++number;
        TestCase* current = &file.cases.back();
        if (line.starts_with("== ")) {
            if (!current->sections.empty() || !current->title.empty()) {
                current = &file.cases.emplace_back();
            }
            current->title = strip(line.substr(3));
            continue;
        }
        if (line.starts_with("-- ")) {
            const std::string_view rest = strip(line.substr(3));
            const size_t blank = std::min(rest.find(' '), rest.size());
            current->sections.push_back(
                {std::string(rest.substr(0, blank)), std::string(strip(rest.substr(blank))), {}});
            continue;
        }
        if (current->sections.empty()) {
            if (!strip(line).empty() && !line.starts_with("#")) {
                return fail(ErrorCode::Syntax,
                            "expected `#`, `==` or `--`, found `" + std::string(line) + "`",
                            Where{.line = static_cast<uint32_t>(number)});
            }
            current->prelude.append(line).append("\n");
        } else {
            current->sections.back().body.append(line).append("\n");
        }
    }
    return file;
}

std::string to_text(const TestFile& file) {
    std::string out;
    for (const TestCase& test : file.cases) {
        // The comments at the head of a file come before its first title.
        const bool head = &test == &file.cases.front();
        if (head) out += test.prelude;
        if (!test.title.empty()) out += "== " + test.title + "\n";
        if (!head) out += test.prelude;
        for (const Section& section : test.sections) {
            out += "-- " + section.name + (section.words.empty() ? "" : " ") + section.words + "\n";
            out += section.body;
        }
    }
    return out;
}

std::string trimmed(std::string_view text) {
    std::string out;
    for (const std::string_view line : lines_of(text)) {
        const std::string_view kept = strip(line);
        if (kept.empty()) continue;
        if (!out.empty()) out += '\n';
        out += kept;
    }
    return out;
}

std::string diff(std::string_view expected, std::string_view actual) {
    const auto a = lines_of(expected), b = lines_of(actual);
    const size_t shorter = std::min(a.size(), b.size());
    size_t head = 0, tail = 0;
    while (head < shorter && a[head] == b[head]) ++head;
    while (tail < shorter - head && a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) ++tail;
    std::string out;
    const auto add = [&out](char mark, std::string_view line) {
        out.append(1, mark).append(" ").append(line).append("\n");
    };
    for (size_t i = head - std::min<size_t>(head, 2); i < head; ++i) add(' ', a[i]);
    for (size_t i = head; i < a.size() - tail; ++i) add('-', a[i]);
    for (size_t i = head; i < b.size() - tail; ++i) add('+', b[i]);
    for (size_t i = a.size() - tail; i < std::min(a.size(), a.size() - tail + 2); ++i) {
        add(' ', a[i]);
    }
    return out;
}

}  // namespace skep::test
