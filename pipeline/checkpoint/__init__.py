"""Checkpoints on disk, and trained weights wherever they lie.

`attempts` lists the starts of a run, and which of their steps count;
`format` is the directory of a checkpoint, its manifest and its checks; `safetensors_writer` writes one share
of it tensor by tensor; `described` reads what a trained model is, and `fitting` whether a run can begin with
it, both without torch; `weights` opens the newest checkpoint of a run, or a model in Hugging Face's format.
How all ranks save and restore together is in `train.resume`.
"""
