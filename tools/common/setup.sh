# shellcheck shell=bash disable=SC2034
# Shared by quickstart and test: missing system packages, and the build. Sourced, not run.

# A heading; bold on a terminal.
say() { if [ -t 1 ]; then printf '\n\033[1m== %s\033[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi; }
die() { printf '%s: error: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Names of the given packages that dpkg does not have.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
  done
}

# Installs what is missing of the given packages, as root or with sudo, and says what.
install_packages() {
  command -v dpkg-query >/dev/null || {
    echo "No dpkg here: assuming that these are installed in some other way: $*"
    return 0
  }
  local missing become=()
  missing=$(missing_packages "$@")
  [ -z "$missing" ] && return 0
  echo "Installing with apt-get: $missing"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing, and there is neither root nor sudo: $missing"
    become=(sudo)
  fi
  # shellcheck disable=SC2086  # the list is words
  "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 ||
    { "${become[@]}" apt-get update -q &&
      "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } ||
    die "apt-get could not install: $missing"
}

# libdnnl-dev 2.6 asks for OpenCL when CMake finds it, but Debian's package does not bring it.
LIBRARY_PACKAGES="libdnnl-dev ocl-icd-opencl-dev libcxxopts-dev nlohmann-json3-dev libutf8proc-dev libeigen3-dev"
BUILD_PACKAGES="g++ cmake ninja-build pkg-config $LIBRARY_PACKAGES"
TEST_PACKAGES="libgtest-dev python3-numpy"

# Makes CMake find what tools/packages has fetched into $1, before what the system has.
use_packages() {
  local directory prefix package libraries
  directory=$(cd "$1" 2>/dev/null && pwd) || die "--packages: $1: no such directory"
  prefix=$directory/root/usr
  if [ ! -d "$prefix" ]; then
    command -v dpkg-deb >/dev/null || die "--packages needs dpkg-deb to unpack"
    ls "$directory"/*.deb >/dev/null 2>&1 || die "--packages: $directory holds no .deb file; tools/packages fetches them"
    for package in "$directory"/*.deb; do dpkg-deb -x "$package" "$directory/root" || die "$package: cannot be unpacked"; done
  fi
  libraries=$prefix/lib/$(uname -m)-linux-gnu
  export CMAKE_PREFIX_PATH="$prefix${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
  export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export PATH="$PATH:$prefix/bin" # for pkg-config, where the system has none
  export PKG_CONFIG_LIBDIR="$libraries/pkgconfig:$prefix/share/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$directory/root"
}

# A generator for a directory that has none yet; one that has keeps its own.
generator_of() {
  if [ -f "$1/CMakeCache.txt" ]; then :; elif command -v ninja >/dev/null; then echo "-GNinja"; fi
}

# Runs a command and shows its output only when it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}
