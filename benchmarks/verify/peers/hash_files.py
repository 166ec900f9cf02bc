"""xxh3_128 of every file below a directory, in plain Python: `hash_files.py DIRECTORY`."""

import sys
from pathlib import Path

import xxhash

room = memoryview(bytearray(4 << 20))
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        digest = xxhash.xxh3_128()
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(room):
                digest.update(room[:count])
        digest.digest()
