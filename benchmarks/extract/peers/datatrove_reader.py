"""datatrove's WARC reader, extractor and writer, as they ship; prints how many documents it wrote."""

import gzip
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers import JsonlWriter

if __name__ == "__main__":
    warc, out = Path(sys.argv[1]), Path(sys.argv[2])
    LocalPipelineExecutor(
        [
            WarcReader(str(warc.parent), glob_pattern=warc.name),
            Trafilatura(favour_precision=False, timeout=30),
            JsonlWriter(str(out / "documents")),
        ],
        tasks=1,
        logging_dir=str(out / "logs"),
    ).run()
    print(sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in (out / "documents").glob("*.gz")))
