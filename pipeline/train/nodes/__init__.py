"""The check of a job's nodes before the first step: what they are, how fast they are, and which are bad."""
