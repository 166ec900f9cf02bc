"""Processes and devices: ranks, the DeepSpeed engine, launching, stopping, and noticing a stalled rank."""
