# Whether the CUDA parts are built: PENSTOCK_WITH_CUDA. AUTO takes nvcc where it is found, in PATH,
# where CUDACXX or CUDA_PATH say, or in its usual folder, and does without it elsewhere.

set(PENSTOCK_CUDA AUTO CACHE STRING "Build what runs on NVIDIA GPUs: ON, OFF or AUTO (if nvcc is found)")
set_property(CACHE PENSTOCK_CUDA PROPERTY STRINGS AUTO ON OFF)
set(PENSTOCK_WITH_CUDA OFF)

# Real code for A100 and H100/H200, and PTX, from which a driver makes code for what is newer.
set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "GPU architectures")

if(NOT PENSTOCK_CUDA STREQUAL AUTO AND NOT PENSTOCK_CUDA)
  return()
endif()
if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(PENSTOCK_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES bin)
  if(PENSTOCK_NVCC)
    set(ENV{CUDACXX} ${PENSTOCK_NVCC})
  endif()
endif()
# One C++ compiler for all: what nvcc would choose by itself may be an older one, whose standard
# library the rest cannot be linked with.
if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX})
  set(ENV{CUDAHOSTCXX} ${CMAKE_CXX_COMPILER})
endif()
if(PENSTOCK_CUDA STREQUAL AUTO)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    return()
  endif()
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
# Whoever needs the CUDA runtime says so (CUDA::cudart_static).
set(CMAKE_CUDA_RUNTIME_LIBRARY None)
# CMake 3.25 does not know every nvcc that has C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
find_package(CUDAToolkit REQUIRED)
if(PENSTOCK_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${PENSTOCK_COMPILER_LAUNCHER})
endif()
set(PENSTOCK_WITH_CUDA ON)
