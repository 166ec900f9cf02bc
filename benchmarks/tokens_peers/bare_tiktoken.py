"""tiktoken alone: encodes every text, writes nothing. Prints its CPU seconds without reading, and tokens."""

import json
import sys
import time
from pathlib import Path

from dataprep.tokens import tokenizer

source, directory = map(Path, sys.argv[1:])
with source.open() as file:
    texts = [json.loads(line)["text"] for line in file]
encoding = tokenizer.load(directory).encoding
begun = time.process_time()
tokens = sum(len(encoding.encode_ordinary(text)) for text in texts)
print(json.dumps({"cpu_s": time.process_time() - begun, "tokens": tokens + len(texts)}))
