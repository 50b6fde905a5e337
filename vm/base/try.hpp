// The macros that pass an Error on. Internal: public headers use plain std::expected.
#pragma once

#include <utility>

#include <skep/error.hpp>

#define SKEP_CONCAT_(a, b) a##b
#define SKEP_CONCAT(a, b) SKEP_CONCAT_(a, b)

// SKEP_TRY(auto x, f()): x is f()'s value, or the Error is returned.
#define SKEP_TRY(declaration, expression)                                               \
    auto SKEP_CONCAT(skep_result_, __LINE__) = (expression);                            \
    if (!SKEP_CONCAT(skep_result_, __LINE__)) [[unlikely]]                              \
        return std::unexpected(std::move(SKEP_CONCAT(skep_result_, __LINE__)).error()); \
    declaration = *std::move(SKEP_CONCAT(skep_result_, __LINE__))

// SKEP_CHECK(f()): for Result<void>, or when the value is not needed.
#define SKEP_CHECK(expression)                                          \
    do {                                                                \
        if (auto skep_result = (expression); !skep_result) [[unlikely]] \
            return std::unexpected(std::move(skep_result).error());     \
    } while (false)
