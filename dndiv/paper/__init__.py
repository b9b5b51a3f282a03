"""The artifact of the paper: what is trained, the tables that come of it, and what they say.

One way only: design (what to train) → compute (rows) → run and cache (tables) → outcomes and
effects → claims, figures → report. What comes after the tables does not import torch.
"""
