"""The experiments of scripts/reproduce_paper.py, one module each, and what they share."""
