"""What a run shows: metrics, samples, charts, pages and reports, and the progress of a crawl.

`metrics_logger` writes each step's metrics, while training, to JSON lines, Weights & Biases and the terminal;
`step_metrics` computes them, `samples` lets checkpoints write, and `evaluations` reads what they score.
`run_page` and `charts` draw a run for `outbound monitor`, `report` a corpus, `crawl_view` a crawl.
"""
