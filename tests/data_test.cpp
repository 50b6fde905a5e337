// Every case of tests/data/**/*.test is a test of its own: Data.FOLDER/FILE or, in files of several
// cases, Data.FOLDER/FILE/TITLE. SKEP_BLESS=1 rewrites expectations that differ, in place.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <sstream>

#include "tests/support/harness.hpp"
#include "tests/support/registered.hpp"

namespace skep::test {
namespace {

namespace fs = std::filesystem;

// One file, shared by the tests of its cases.
struct LoadedFile {
    fs::path path;
    TestFile file;
};

class DataTest : public ::testing::Test {
public:
    DataTest(std::shared_ptr<LoadedFile> file, size_t index)
        : file_(std::move(file)), index_(index) {}

    void TestBody() override {
        const bool bless = std::getenv("SKEP_BLESS") != nullptr;
        bool changed = false;
        for (const std::string& complaint : run_case(file_->file.cases[index_], bless, changed)) {
            ADD_FAILURE() << complaint;
        }
        if (!changed) return;
        std::ofstream(file_->path) << to_text(file_->file);
        std::printf("blessed %s\n", file_->path.c_str());
    }

private:
    std::shared_ptr<LoadedFile> file_;
    size_t index_;
};

void register_file(const fs::path& root, const fs::path& path) {
    auto relative = fs::relative(path, root);
    const std::string name = test_name(relative.replace_extension().generic_string());
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    auto parsed = parse_test_file(text.str());
    if (!parsed) {
        const std::string message = path.string() + ": " + parsed.error().to_string();
        ::testing::RegisterTest("Data", name.c_str(), nullptr, nullptr, path.c_str(), 1,
                                [=] { return new UnreadableFile(message); });
        return;
    }
    const auto file = std::make_shared<LoadedFile>(LoadedFile{path, *std::move(parsed)});
    for (size_t i = 0; i < file->file.cases.size(); ++i) {
        const std::string& title = file->file.cases[i].title;
        const std::string full = title.empty() ? name : name + "/" + test_name(title);
        ::testing::RegisterTest("Data", full.c_str(), nullptr, nullptr, path.c_str(), 1,
                                [=] { return new DataTest(file, i); });
    }
}

}  // namespace
}  // namespace skep::test

int main(int argc, char** argv) {
    namespace fs = std::filesystem;
    ::testing::InitGoogleTest(&argc, argv);
    const fs::path root = fs::path(SKEP_SOURCE_DIR) / "tests" / "data";
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
        if (entry.path().extension() == ".test") files.push_back(entry.path());
    }
    std::ranges::sort(files);
    for (const fs::path& file : files) skep::test::register_file(root, file);
    return RUN_ALL_TESTS();
}
