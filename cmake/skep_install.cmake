# `cmake --install`: library, public headers, the command, and what find_package(skep) and
# pkg-config need.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS skep EXPORT skepTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/vm/include/skep DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h" PATTERN "*.def")
if(TARGET skep_tool)
  install(TARGETS skep_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(skep_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/skep)
install(EXPORT skepTargets NAMESPACE skep:: DESTINATION ${skep_package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/skepConfig.cmake.in
  ${PROJECT_BINARY_DIR}/skepConfig.cmake INSTALL_DESTINATION ${skep_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/skepConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/skepConfig.cmake ${PROJECT_BINARY_DIR}/skepConfigVersion.cmake
  DESTINATION ${skep_package_dir})

# pkg-config finds its own place, so that an installed tree can be moved.
file(RELATIVE_PATH skep_pc_prefix
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
get_property(skep_pc_libraries GLOBAL PROPERTY SKEP_LIBRARIES)
list(JOIN skep_pc_libraries " " skep_pc_libraries)
configure_file(${PROJECT_SOURCE_DIR}/cmake/skep.pc.in ${PROJECT_BINARY_DIR}/skep.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/skep.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
