"""Random streams: every draw of this package has one, by what it is for and by its seed.

PyTorch's CPU generator keeps the low 32 bits of what it is seeded with, so streams must differ in
those. Seeds go from 0 to 2²⁸ − 1, and each purpose has a range of its own:

=============  ====================  =======================================================
purpose        the generator's seed  what is drawn
=============  ====================  =======================================================
``draw``       2·seed                the base random draw of all layers of a network
``order``      2·seed + 1            the order in which it sees the data: apart from the draw,
                                     or the two would be tied together
``redraw``     2³⁰ + seed            the fresh weights of ``reinitialize``
``held out``   2³¹ + seed            which images are held out of training
``dropout``    3·2³⁰ + seed          which units are dropped
=============  ====================  =======================================================

All are on the CPU, whatever the device, so that a seed means the same everywhere.
"""

import torch

from dndiv.checks import choose

SEEDS = 2**28
STREAMS = {
    "draw": lambda seed: 2 * seed,
    "order": lambda seed: 2 * seed + 1,
    "redraw": lambda seed: 2**30 + seed,
    "held out": lambda seed: 2**31 + seed,
    "dropout": lambda seed: 3 * 2**30 + seed,
}


def generator(purpose: str, seed: int = 0) -> torch.Generator:
    """A new generator at the start of a stream. Raises ValueError for an unknown one."""
    choose("stream", purpose, STREAMS)
    if not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise ValueError(f"a seed is a whole number from 0 to {SEEDS - 1}, not {seed!r}")
    return torch.Generator().manual_seed(STREAMS[purpose](seed))
