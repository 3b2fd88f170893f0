# The interface is only added to until GGUFFUSE_ABI_VERSION changes (include/gguffuse.abi): a version takes the place of
# every older one of the same major number. tests/install.rs compares this number with Cargo.toml's.
set(PACKAGE_VERSION "0.1.0")

string(REGEX MATCH "^[0-9]+" _gguffuse_major "${PACKAGE_VERSION}")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION
   OR (PACKAGE_FIND_VERSION_COUNT GREATER 0 AND NOT PACKAGE_FIND_VERSION_MAJOR EQUAL _gguffuse_major))
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
