# skep_module(NAME sources...): one module of the library, as an object library. Its sources are
# listed beside them, in the module's own CMakeLists.txt; the layer check keeps its includes honest.
function(skep_module name)
  set_property(GLOBAL APPEND PROPERTY SKEP_MODULES ${name})
  if(NOT ARGN)
    add_library(skep_${name} INTERFACE)
    return()
  endif()
  add_library(skep_${name} OBJECT ${ARGN})
  target_link_libraries(skep_${name} PRIVATE skep_options)
endfunction()

# What every target of the project is compiled with.
add_library(skep_options INTERFACE)
target_include_directories(skep_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/vm/include)
target_compile_options(skep_options INTERFACE
  -Wall -Wextra -Wno-missing-field-initializers -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough -fno-strict-aliasing
  # gcc 12 warns of overlapping copies in string concatenations (its bug 105651) and of uninitialised
  # values in std::expected, where there are none; clang of what libstdc++ 12's stable_sort uses.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
  $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>
  $<$<BOOL:${SKEP_WERROR}>:-Werror>)
target_compile_definitions(skep_options INTERFACE $<$<BOOL:${SKEP_JIT}>:SKEP_HAS_JIT>)
target_link_libraries(skep_options INTERFACE Threads::Threads)
find_package(Threads REQUIRED)

# Collects the modules into skep::skep.
function(skep_library)
  get_property(modules GLOBAL PROPERTY SKEP_MODULES)
  add_library(skep)
  add_library(skep::skep ALIAS skep)
  foreach(module IN LISTS modules)
    get_target_property(type skep_${module} TYPE)
    if(type STREQUAL "OBJECT_LIBRARY")
      target_sources(skep PRIVATE $<TARGET_OBJECTS:skep_${module}>)
    endif()
  endforeach()
  get_property(libraries GLOBAL PROPERTY SKEP_LIBRARIES)
  target_link_libraries(skep PRIVATE $<BUILD_INTERFACE:skep_options> ${libraries})
  target_link_libraries(skep PUBLIC Threads::Threads)
  target_include_directories(skep PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/vm/include> $<INSTALL_INTERFACE:include>)
  target_compile_features(skep PUBLIC cxx_std_23)
endfunction()
