"""Random streams: no two draws of this package share one, in the 32 bits that PyTorch keeps."""

import pytest
import torch

from dndiv import streams

SEEDS = (0, 1, 2, 1000, 2**27, streams.SEEDS - 1)


def kept(generator):
    """What the CPU generator keeps of its seed."""
    return generator.initial_seed() % 2**32


def test_all_streams_differ_in_the_bits_that_are_kept():
    keyed = {(p, s): kept(streams.generator(p, s)) for p in streams.STREAMS for s in SEEDS}
    assert len(set(keyed.values())) == len(keyed)
    # and in what is drawn, which is what counts
    first = {tuple(torch.randn(4, generator=streams.generator(p, s)).tolist()) for p, s in keyed}
    assert len(first) == len(keyed)


def test_the_low_bits_are_all_that_pytorch_keeps():
    one, other = (torch.Generator().manual_seed(s) for s in (5, 2**40 + 5))
    assert torch.equal(torch.randn(3, generator=one), torch.randn(3, generator=other))


def test_a_redraw_is_independent_of_what_the_seed_began_with():
    """As ``torch.manual_seed(0)`` of a user, and as the draw of seed 0 in a population."""
    torch.manual_seed(0)
    theirs = torch.randn(1000)
    fresh = torch.randn(1000, generator=streams.generator("redraw", 0))
    assert abs(torch.corrcoef(torch.stack([theirs, fresh]))[0, 1]) < 0.15
    drawn = torch.randn(1000, generator=streams.generator("draw", 0))
    assert abs(torch.corrcoef(torch.stack([drawn, fresh]))[0, 1]) < 0.15


@pytest.mark.parametrize("seed", [-1, streams.SEEDS, 1.5])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="a seed is a whole number from 0 to"):
        streams.generator("draw", seed)


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ValueError, match="unknown stream 'noise'; choose one of draw, order"):
        streams.generator("noise")
