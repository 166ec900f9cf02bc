"""datatrove's tokenizer stage as shipped: JSONL in, shuffled tokens with end-of-text out. One task."""

import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer

if __name__ == "__main__":
    source, tokenizer, out = sys.argv[1:]
    stage = DocumentTokenizer(
        f"{out}/tokens",
        local_working_dir=f"{out}/scratch",
        tokenizer_name_or_path=tokenizer,
        eos_token="<|endoftext|>",
    )
    LocalPipelineExecutor([JsonlReader(source), stage], tasks=1, logging_dir=f"{out}/logs").run()
