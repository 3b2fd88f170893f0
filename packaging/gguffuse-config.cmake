# find_package(gguffuse): the targets gguffuse::gguffuse (shared) and gguffuse::static.
#
# One file for every layout, as scripts/install.sh and cargo-c install it in different places: the prefix is the first
# folder above this one that has include/gguffuse.h.

set(_gguffuse_prefix "${CMAKE_CURRENT_LIST_DIR}")
while(NOT EXISTS "${_gguffuse_prefix}/include/gguffuse.h")
  get_filename_component(_gguffuse_up "${_gguffuse_prefix}" DIRECTORY)
  if(_gguffuse_up STREQUAL _gguffuse_prefix)
    set(gguffuse_FOUND FALSE)
    set(gguffuse_NOT_FOUND_MESSAGE "there is no include/gguffuse.h above ${CMAKE_CURRENT_LIST_DIR}")
    return()
  endif()
  set(_gguffuse_prefix "${_gguffuse_up}")
endwhile()

# Not cached: another prefix may be tried in the same build folder.
foreach(_gguffuse_kind SHARED STATIC)
  unset(_gguffuse_${_gguffuse_kind})
  set(_gguffuse_file "${CMAKE_${_gguffuse_kind}_LIBRARY_PREFIX}gguffuse${CMAKE_${_gguffuse_kind}_LIBRARY_SUFFIX}")
  foreach(_gguffuse_libdir lib lib64 "lib/${CMAKE_LIBRARY_ARCHITECTURE}")
    if(NOT DEFINED _gguffuse_${_gguffuse_kind} AND EXISTS "${_gguffuse_prefix}/${_gguffuse_libdir}/${_gguffuse_file}")
      set(_gguffuse_${_gguffuse_kind} "${_gguffuse_prefix}/${_gguffuse_libdir}/${_gguffuse_file}")
    endif()
  endforeach()
endforeach()

if(DEFINED _gguffuse_SHARED AND NOT TARGET gguffuse::gguffuse)
  add_library(gguffuse::gguffuse SHARED IMPORTED)
  set_target_properties(gguffuse::gguffuse PROPERTIES
    IMPORTED_LOCATION "${_gguffuse_SHARED}"
    INTERFACE_INCLUDE_DIRECTORIES "${_gguffuse_prefix}/include")
endif()
if(DEFINED _gguffuse_STATIC AND NOT TARGET gguffuse::static)
  # What Rust's standard library needs; the compiler's own libraries are added by the compiler.
  add_library(gguffuse::static STATIC IMPORTED)
  set_target_properties(gguffuse::static PROPERTIES
    IMPORTED_LOCATION "${_gguffuse_STATIC}"
    INTERFACE_INCLUDE_DIRECTORIES "${_gguffuse_prefix}/include"
    INTERFACE_LINK_LIBRARIES "pthread;${CMAKE_DL_LIBS};m")
endif()
if(NOT TARGET gguffuse::gguffuse AND NOT TARGET gguffuse::static)
  set(gguffuse_FOUND FALSE)
  set(gguffuse_NOT_FOUND_MESSAGE "there is no library gguffuse below ${_gguffuse_prefix}")
endif()
