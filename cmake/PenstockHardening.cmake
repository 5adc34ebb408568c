# What makes a mistake in memory end the program instead of serving an attacker, for all optimized
# builds. Sanitizers see more, and do not mix with it. tests/hardening shows each.

set(PENSTOCK_HARDENING_COMPILE
  -fstack-protector-strong      # a function that writes beyond an array does not return
  -fstack-clash-protection      # a large frame cannot jump over the guard page
  -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3  # the C library's functions know the size of what they fill
  -D_GLIBCXX_ASSERTIONS)        # so do the standard library's containers
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND PENSTOCK_HARDENING_COMPILE -fcf-protection=full)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  list(APPEND PENSTOCK_HARDENING_COMPILE -mbranch-protection=standard)
endif()
# Full RELRO: tables of functions are filled at the start and cannot be written afterwards.
set(PENSTOCK_HARDENING_LINK -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)

# Programs that can be loaded anywhere: CMake compiles for that anyhow, but links so only if asked.
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

if(NOT PENSTOCK_SANITIZE)
  foreach(flag IN LISTS PENSTOCK_HARDENING_COMPILE)
    add_compile_options($<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:${flag}>)
  endforeach()
  foreach(flag IN LISTS PENSTOCK_HARDENING_LINK)
    add_link_options($<$<NOT:$<CONFIG:Debug>>:${flag}>)
  endforeach()
endif()
