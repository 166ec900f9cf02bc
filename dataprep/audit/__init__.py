"""Reports about a corpus: its funnel, its state, whether it is undamaged, and where a document went."""
