"""The parity suite: every layout takes the steps of plain torch, and reads and writes the same checkpoint."""
