"""Everything that runs: the command line, configs, data order, engine, training loop, checkpoints."""
