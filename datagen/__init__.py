"""Making data: hidden cases become conversations, conversations become preference pairs.

May import judging, endpoints, validation and artifacts; never Prefect or torch.
Begin at `generate.py`, then `simulation.py` and `cases.py`.
"""
