"""tiktoken alone: encodes every text, writes nothing. Prints its seconds without reading, and tokens."""

import json
import sys
import time
from pathlib import Path

from dataprep.tokenizer import tokenizer

source, directory = map(Path, sys.argv[1:])
with source.open() as file:
    texts = [json.loads(line)["text"] for line in file]
encoding = tokenizer.load(directory).encoding
cpu, wall = time.process_time(), time.monotonic()
tokens = sum(len(encoding.encode_ordinary(text)) for text in texts)
cpu, wall = time.process_time() - cpu, time.monotonic() - wall
print(json.dumps({"cpu_s": cpu, "wall_s": wall, "tokens": tokens + len(texts)}))
