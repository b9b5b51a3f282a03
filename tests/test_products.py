"""The multiply–accumulates of a unit, against PyTorch's own count on plain modules; and what is
said of a run by them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dndiv.paper import (
    cache,
    compute,
    convolutions,
    data,
    design,
    experiments,
    products,
    report,
    run,
)
from dndiv.paper.design import Convolution, Directions, Parity, Training

ARMS = ("default", "decorrelated", "he")


def counted(*ways):
    """Multiply–accumulates of some computations, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        for way in ways:
            way()
    return counter.get_total_flops() // 2


def plain(sizes):
    layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def course(net, x, y, batch, epochs):
    """Train; yields the step, before and after each epoch and each step."""
    step = 0
    yield step
    for _ in range(epochs):
        for k in range(0, len(x), batch):
            F.cross_entropy(net(x[k : k + batch]), y[k : k + batch]).backward()
            step += 1
            yield step


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("setting, epochs", [("shallow", 2), ("tiny", 1)])
def test_training_and_accuracy_are_what_a_plain_loop_takes(setting, epochs, tuned):
    record = "accuracy in training" if tuned else "accuracy"
    looks = {
        "records": (record, "layers"),
        "looks": "a few early",
        "epochs": epochs,
        "tuned": tuned,
    }
    unit = Training("Digits", setting, "sgd", ARMS, (1, 2), observed=ARMS[:2], **looks)
    here = compute.parted(data.load("Digits"), tuned)
    net, batch = plain((64, *design.hidden_layers(setting), 10)), design.BATCH["Digits"]
    per_epoch = -(-len(here.x_train) // batch)

    def train(watched):
        for step in course(net, here.x_train, here.y_train, batch, epochs):
            if step % per_epoch and step not in (8, 64):  # 512 is in no epoch of so few steps
                continue
            if (watched or not (tuned or step % per_epoch)) and (step or not tuned):
                net(here.x_test)
            if watched:
                net(here.x_held)

    both, unwatched = (counted(lambda of=of: train(of)) for of in (True, False))
    assert products.macs(unit) == 2 * (2 * both + unwatched)


def test_an_arm_whose_technique_is_off_is_not_trained_and_counts_nothing():
    off = ("default+srip:constant@0", "default+mma:constant@0")
    here = {"data": "Digits", "setting": "tiny", "optimizer": "sgd", "seeds": (1, 2)}
    alone, with_off = (Training(arms=("default", *a), **here) for a in ((), off))
    assert products.macs(alone) == products.macs(with_off) > 0


def test_lesions_are_the_ways_through_the_layers_behind():
    plain_unit = Training("Digits", "narrow", "sgd", ARMS[:1], (1,), epochs=1)
    unit = Training("Digits", "narrow", "sgd", ARMS[:1], (1,), 1, ("accuracy", "lesions"))
    here, net = compute.parted(data.load("Digits")), plain((64, 8, 8, 8, 8, 8, 10))
    behind = [net[2 * l :] for l in range(1, 6)]

    def lesions():
        net(here.x_held), net(here.x_test)
        for rest in behind:
            for _ in range(8):
                rest(torch.randn(len(here.x_test), 8))

    assert products.macs(unit) - products.macs(plain_unit) == counted(lesions)


def test_parity_is_full_batches_and_drawn_weights_are_no_training(monkeypatch):
    monkeypatch.setattr(design, "PARITY_STEPS", 100)
    unit = Parity("Parity3", "1×4", ARMS, (1, 2))
    net, x, y = plain((3, 4, 2)), torch.randn(8, 3), torch.zeros(8, dtype=torch.long)

    def train():
        for step in range(101):
            if step % design.ESCAPE_EVERY == 0:
                net(x)
            F.cross_entropy(net(x), y).backward()

    assert products.macs(unit) == 6 * counted(train)
    assert products.macs(Directions("tiny", ARMS, (1,))) == 0


def test_convolutional_networks_take_what_a_plain_loop_does():
    unit = Convolution("Digits", "sgd@0.1", ARMS, (1, 2))
    here, filters = compute.parted(data.load("Digits")), design.FILTERS
    net = convolutions.network((8, 8), filters, 10)
    x, test = (part.view(-1, 1, 8, 8) for part in (here.x_train, here.x_test))

    def train():
        for step in course(net, x, here.y_train, design.FEW_BATCH, design.EPOCHS):
            if step % -(-len(x) // design.FEW_BATCH) == 0:
                net(test)

    assert products.macs(unit) == 6 * counted(train)


def test_data_sets_are_as_large_as_they_are_said_to_be():
    for name in ("Digits", "MNIST1D"):
        whole = data.load(name)
        assert products.IMAGES[name] == (len(whole.x_train), len(whole.x_test))


def test_the_rate_is_of_one_thread_and_leaves_the_others():
    threads = torch.get_num_threads()
    assert 0.1 < products.rate() < 1e4 and torch.get_num_threads() == threads


def test_a_run_says_how_far_it_is_from_its_products_and_an_older_one_that_it_does_not_know():
    entry = {"units": 2, "rated_units": 2, "rated_seconds": 60.0, "product_seconds": 40.0}
    none = {"units": 1, "rated_units": 1, "rated_seconds": 1.0, "product_seconds": 0.0}
    facts = {"experiments": {"a": entry, "b": none}}
    said = report._distance(facts)
    assert said.endswith("when each unit was computed: 1.52; a 1.50, b –.")
    for older in (entry | {"rated_units": 1}, {"units": 2, "unit_seconds": 60.0}):
        assert report.over_products(older) == "not measured"
        facts = {"experiments": {"a": older}}
        assert report._distance(facts).endswith("computed: not measured.")


def test_the_speed_is_that_of_the_machine_when_each_unit_was_computed(results, monkeypatch):
    drawn, *_ = experiments.units("directions", "smoke", ["Digits"])
    units = [drawn, *experiments.units("early", "smoke", ["Digits"])[:2]]
    speeds = iter([1.0, 0.003, 0.006])
    monkeypatch.setattr(products, "rate", lambda device: next(speeds))
    monkeypatch.setattr(run, "SPEED_HOLDS", 1e-9)
    for unit in units:
        cache.keep(*run._run(unit, "cpu"))
    found = run._taken(units, [cache.facts(unit) for unit in units])
    _, first, second = units
    alone = 2e-9 * (products.macs(first) / 0.003 + products.macs(second) / 0.006)
    assert found["rated_units"] == found["units"] == 3
    assert found["product_seconds"] == round(alone, 1) > 0
    assert found["rated_seconds"] == found["unit_seconds"]
