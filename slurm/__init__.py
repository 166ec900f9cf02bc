"""Cluster profiles, sbatch templates, submission."""
