#!/bin/sh
# Builds the libFuzzer targets of tests/fuzz with clang, AddressSanitizer and UndefinedBehaviorSanitizer and runs each on
# inputs that grow from the tests' good and bad ones. Ends with the number of inputs of each target; fails where one crashed,
# hung or took more than 1 GiB. What made it do so is in build/fuzz/found.
# Usage: scripts/fuzz.sh [--seconds N | --runs N] [--all | TARGET...]
#   default: 5 seconds each of the targets that need mixflow's readers alone; --all: also those that need all of mixflow
set -eu
cd "$(dirname "$0")/.."

limit="-max_total_time=5"
readers="config override when npy npz csv safetensors ledger claim"
others="grad_in checkpoint point sweep"
targets=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) limit="-max_total_time=$2"; shift ;;
    --runs) limit="-runs=$2"; shift ;;
    --all) targets="$readers $others" ;;
    -h | --help) sed -n '2,7s/^# //p' "$0"; exit 0 ;;
    -*) echo "$0: unknown option $1" >&2; exit 2 ;;
    *) targets="$targets $1" ;;
  esac
  shift
done
[ -n "$targets" ] || targets=$readers

scripts/setup.sh
missing=
for package in clang libomp-dev; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' $package 2>/dev/null)" = installed ] || missing="$missing $package"
done
# The runtime library of libFuzzer is in a package of clang's version.
if [ -z "$missing" ]; then
  version=$(clang++ -dumpversion | cut -d. -f1)
  ls "$(clang++ -print-resource-dir)"/lib/*/*fuzzer*.a >/dev/null 2>&1 || missing="libclang-rt-$version-dev"
else
  missing="$missing libclang-rt-dev"
fi
if [ -n "$missing" ]; then
  echo "installing: $missing"
  as_root=
  [ "$(id -u)" -eq 0 ] || as_root=sudo
  $as_root apt-get -q update
  for package in $missing; do
    # Debian 12 has no libclang-rt-dev without a version.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$package" ||
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
        "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
  done
fi

cmake --preset fuzz >build-fuzz.log 2>&1 || { cat build-fuzz.log; exit 1; }
rm -f build-fuzz.log
cmake --build --preset fuzz --target $(printf 'fuzz_%s ' $targets)
python3 scripts/fuzz_corpus.py build/fuzz/seeds

mkdir -p build/fuzz/found
failed=
for target in $targets; do
  corpus=build/fuzz/corpus/$target log=build/fuzz/$target.log
  mkdir -p "$corpus"
  echo "== $target"
  # Inputs up to 16 KiB: faults of size have tests of their own.
  UBSAN_OPTIONS=print_stacktrace=1 build/fuzz/tests/fuzz/fuzz_"$target" $limit -timeout=10 -rss_limit_mb=1024 \
    -max_len=16384 -print_final_stats=1 -artifact_prefix="build/fuzz/found/$target-" "$corpus" \
    "build/fuzz/seeds/$target" >"$log" 2>&1 || failed="$failed $target"
  sed -n 's/^stat::number_of_executed_units: */   inputs: /p; s/^stat::peak_rss_mb: */   peak MiB: /p' "$log"
done
[ -z "$failed" ] || {
  for target in $failed; do
    echo "== $target: log build/fuzz/$target.log" >&2
    grep -aE "ERROR|SUMMARY|runtime error|what\(\)|Test unit" "build/fuzz/$target.log" | head -10 >&2
  done
  exit 1
}
