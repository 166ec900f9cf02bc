"""The exit codes by which a job's script, and whoever looks at it later, know how a command ended."""

USAGE_EXIT = 2
"""Commands leave with this when what was typed, or a configuration, is wrong: another start does not help."""
RESUME_EXIT = 75
"""`outbound train`, `corpus work` and `pack --join` leave with this when stopped early, to be continued.

It is EX_TEMPFAIL of sysexits.h. The first process of training that leaves with it makes srun end the others
by SIGTERM: all have saved by then, since a barrier comes before it, and none heeds that signal any more. srun
itself leaves with the highest code of all.
"""
SUPERSEDED_EXIT = 76
"""`outbound train` leaves with this when another attempt has taken over: its job must not be queued again."""
BAD_NODE_EXIT = 77
"""`outbound train` leaves with this when nodes of its job cannot train; `slurm.ends` names them."""
INTERRUPTED = 130
"""Other commands leave with this when they are interrupted as by Ctrl-C; the same command goes on."""
STOPPED = frozenset([RESUME_EXIT, SUPERSEDED_EXIT, INTERRUPTED, 138, 143])
"""Codes of tasks that were stopped and have not failed; the last two are SIGUSR1 and SIGTERM."""
