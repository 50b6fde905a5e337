// The four ways in which a program runs.
#pragma once

#include <skep/vm.hpp>

namespace skep::test {

struct Way {
    const char* name;
    Engine engine;
    Mode mode;
};
inline constexpr Way kWays[] = {{"interpreter", Engine::Interpreter, Mode::Verified},
                                {"native", Engine::Default, Mode::Verified},
                                {"sandboxed interpreter", Engine::Interpreter, Mode::Sandbox},
                                {"sandboxed native", Engine::Default, Mode::Sandbox}};

}  // namespace skep::test
