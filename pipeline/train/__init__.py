"""Training, one rank of it: `worker` is the process, `loop` the run from top to bottom.

`run_directory` makes the attempt, below whose folder all is written, and ends it when a later one takes over.

Each step of `loop` takes a batch from `pipeline.data`, its size and the learning rate from `schedule`, and
checks the loss by `guards`; `resume` saves all ranks' shares to `pipeline.checkpoint` and restores them.
"""
