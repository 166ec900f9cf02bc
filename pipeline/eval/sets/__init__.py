"""Readers of evaluation sets, each for one published format: `read(paths, root) -> Iterator[Example]`.

The file of a task names its reader as `module.function`. A reader gives rows in the fields of lm-eval's file
for the task, where there is one. A file that is missing, cut or in another format is one DataError with file
and line.
"""
