# What every target shares: the warning set, the sanitizers, and two short functions.

find_package(Threads REQUIRED)
find_program(PENSTOCK_LLD ld.lld)
find_program(PENSTOCK_CCACHE ccache)
# GCC's optimization across files (of the preset release) needs the linker that it was made for.
if(PENSTOCK_LLD AND NOT CMAKE_INTERPROCEDURAL_OPTIMIZATION)
  add_link_options(-fuse-ld=lld)
endif()
if(PENSTOCK_CCACHE)
  # Paths count from the top, so that checkouts in several folders share what was compiled.
  set(PENSTOCK_COMPILER_LAUNCHER
    env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=true ${PENSTOCK_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PENSTOCK_COMPILER_LAUNCHER})
endif()
if(PENSTOCK_SANITIZE)
  add_compile_options(-fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer)
  if(PENSTOCK_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  add_link_options(-fsanitize=${PENSTOCK_SANITIZE})
endif()

option(PENSTOCK_FUZZ "Build the fuzzers (clang only): everything tells libFuzzer what was reached" OFF)
if(PENSTOCK_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

option(PENSTOCK_WARNINGS_FAIL "What a compiler warns of ends the build" ON)
add_library(penstock_warnings INTERFACE)
target_compile_options(penstock_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Wnon-virtual-dtor;-Woverloaded-virtual>
  # What nvcc hands to the C++ compiler is partly its own, and not pedantic.
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow>)
if(PENSTOCK_WARNINGS_FAIL)
  target_compile_options(penstock_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror>
    "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Werror>")
endif()
target_include_directories(penstock_warnings INTERFACE ${CMAKE_SOURCE_DIR})

# penstock_library(NAME SOURCES … DEPENDS … [PRIVATE_DEPENDS …]): one folder's static library.
function(penstock_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS} PRIVATE penstock_warnings ${ARG_PRIVATE_DEPENDS})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# penstock_runs_seldom(NAME): not optimized for the sanitizers, where that costs a third of the compile time. For tests,
# and for what runs at the start or for an operator.
function(penstock_runs_seldom name)
  if(PENSTOCK_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)
  endif()
endfunction()

# penstock_protobuf(NAME FILE): the C++ that protoc makes of a .proto in this folder, included as
# <folder/file.pb.h> by the one source that wraps it. Our warnings are not for what is generated.
function(penstock_protobuf name file)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  get_filename_component(stem ${file} NAME_WE)
  set(root ${CMAKE_BINARY_DIR}/generated)
  set(generated ${root}/${folder}/${stem}.pb)
  add_custom_command(
    OUTPUT ${generated}.cc ${generated}.h
    COMMAND ${CMAKE_COMMAND} -E make_directory ${root}
    COMMAND protobuf::protoc -I ${CMAKE_SOURCE_DIR} --cpp_out=${root} ${folder}/${file}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    DEPENDS ${file}
    VERBATIM)
  add_library(${name} STATIC ${generated}.cc ${generated}.h)
  target_compile_options(${name} PRIVATE -w)
  target_include_directories(${name} SYSTEM PUBLIC ${root})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf-lite)
endfunction()

# How every test runs: where the programs are, how long to be patient, how the sanitizers report.
set(PENSTOCK_PYTHON /usr/bin/python3 CACHE FILEPATH "The Python that has Debian's python3-* packages")
set(PENSTOCK_TEST_SLOWNESS 1)
if(PENSTOCK_SANITIZE)
  set(PENSTOCK_TEST_SLOWNESS 4)
endif()
set(PENSTOCK_TEST_ENVIRONMENT
  "PENSTOCK_BIN_DIR=${CMAKE_BINARY_DIR}/bin"
  "PENSTOCK_TEST_SLOWNESS=${PENSTOCK_TEST_SLOWNESS}"
  "PYTHONDONTWRITEBYTECODE=1"
  "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=second_deadlock_stack=1:halt_on_error=1")

macro(penstock_test_defaults)
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
endmacro()

function(penstock_test_properties name label timeout)
  set_tests_properties(${name} PROPERTIES
    LABELS "${label}" TIMEOUT ${timeout} ENVIRONMENT "${PENSTOCK_TEST_ENVIRONMENT}")
endfunction()

# penstock_test(NAME SOURCES … DEPENDS … [LABEL …] [THREADS]): one GoogleTest program, registered with CTest as one
# test. LABEL tells which suites run it (unit, simulation). THREADS: more than one thread runs in it; under
# ThreadSanitizer no others are built and run.
function(penstock_test name)
  cmake_parse_arguments(ARG "THREADS" "LABEL;TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  penstock_test_defaults()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} penstock_warnings GTest::gmock GTest::gtest_main)
  penstock_runs_seldom(${name})
  # A null pointer that is followed ends the test anyway, and these checks are a quarter of its compile time.
  if(PENSTOCK_SANITIZE MATCHES undefined)
    target_compile_options(${name} PRIVATE -fno-sanitize=null,alignment)
  endif()
  if(TARGET penstock_test_headers)
    target_precompile_headers(${name} REUSE_FROM penstock_test_headers)
    # GCC 12 takes what is inlined from a precompiled system header for our own code, and warns of it.
    target_compile_options(${name} PRIVATE -Wno-error=array-bounds -Wno-error=dangling-pointer
      -Wno-error=maybe-uninitialized -Wno-error=restrict -Wno-error=stringop-overflow
      -Wno-error=stringop-overread -Wno-error=use-after-free)
  endif()
  if(PENSTOCK_SANITIZE STREQUAL thread AND NOT ARG_THREADS)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${name})
  penstock_test_properties(${name} "${ARG_LABEL}" ${ARG_TIMEOUT})
endfunction()

# penstock_python_test(NAME [LABEL …] [TIMEOUT …] COMMAND script arguments…): a test in Python, run by
# Debian's interpreter; PENSTOCK_BIN_DIR names the folder of the programs. Give "-m;pytest;file" for
# pytest. LABEL may be a list; "sanitizers" makes the sanitizer runs take it too.
function(penstock_python_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LABEL;COMMAND" ${ARGN})
  penstock_test_defaults()
  add_test(NAME ${name} COMMAND ${PENSTOCK_PYTHON} ${ARG_COMMAND})
  penstock_test_properties(${name} "${ARG_LABEL}" ${ARG_TIMEOUT})
endfunction()
