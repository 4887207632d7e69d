#!/usr/bin/env bash
# Static libraries that Debian does not build, made from its own source packages:
#   cuda/portable_libraries.sh FOLDER
# leaves libtbb.a, libhwy.a, libfmt.a and libtomlplusplus.a there, of the versions whose headers are
# installed. Needs g++, tar, xz and apt-get, not root.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
packages=(onetbb highway fmtlib)
mkdir -p "$folder/sources/lists/partial" && cd "$folder/sources"

. /etc/os-release
case $ID in
  ubuntu) echo "deb-src http://archive.ubuntu.com/ubuntu $VERSION_CODENAME main universe" ;;
  *) echo "deb-src http://deb.debian.org/debian ${VERSION_CODENAME:-bookworm} main" ;;
esac >sources.list
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/lists")
"${apt[@]}" update
"${apt[@]}" source --download-only "${packages[@]}"

library() {  # NAME SOURCE-PACKAGE "FLAGS" FILE...
  local name=$1 package=$2 flags=$3 objects=() file
  shift 3
  [[ -f $folder/lib$name.a ]] && return 0
  echo "lib$name.a"
  rm -rf "$package" && mkdir "$package" && tar -xf "$package"_*.orig.tar.* -C "$package" --strip-components=1
  cd "$package"
  for file in $(eval echo "$@"); do
    # shellcheck disable=SC2086
    g++ -std=c++17 -O2 -fPIC $flags -c "$file" -o "$(tr / _ <<<"$file").o" &
    objects+=("$(tr / _ <<<"$file").o")
    ((${#objects[@]} % $(nproc) == 0)) && wait
  done
  wait
  ar rcs "$folder/lib$name.a" "${objects[@]}"
  cd ..
}
library fmt fmtlib "-Iinclude" src/format.cc src/os.cc
library hwy highway "-I." hwy/targets.cc hwy/aligned_allocator.cc
# toml++ needs no sources: its installed headers hold the library.
if [[ ! -f $folder/libtomlplusplus.a ]]; then
  echo "libtomlplusplus.a"
  printf '#define TOML_HEADER_ONLY 0\n#define TOML_IMPLEMENTATION\n#include <toml++/toml.h>\n' >toml.cpp
  g++ -std=c++17 -O2 -fPIC -c toml.cpp -o toml.o
  ar rcs "$folder/libtomlplusplus.a" toml.o
fi
library tbb onetbb "-Iinclude -Isrc -D__TBB_BUILD -D__TBB_NO_IMPLICIT_LINKAGE -mrtm -mwaitpkg -w" "src/tbb/*.cpp"
ls -l "$folder"/*.a
