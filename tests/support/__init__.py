"""What tests share: commands, corpora, runs, ranks, servers and workers that misbehave."""
