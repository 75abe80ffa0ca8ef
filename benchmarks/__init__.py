"""Measurements against peers and ideals, side by side in one run, printed as ratios.

May import everything. Each runs as `python -m benchmarks.<name> [--quick]`.
The last line that each prints is a JSON object: figure, target, holds, and what was measured.
"""
