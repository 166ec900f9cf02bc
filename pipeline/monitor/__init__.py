"""What a run shows: metrics, samples, charts, pages and reports, and the progress of a crawl."""
