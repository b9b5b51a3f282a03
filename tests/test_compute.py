"""What a unit computes, against an independent training loop, and measures one by one."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torchvision import datasets

from dndiv import init, population, streams
from dndiv.paper import compute, convolutions, data, design, findings
from dndiv.paper.design import Convolution, Directions, Training
from dndiv.paper.names import COLUMNS, LABELS, OPTIMIZERS
from dndiv.paper.starts import start_

OBSERVED = {"records": ("accuracy", "diversity", "lesions"), "looks": "powers of two"}


def frame(unit):
    return pd.DataFrame(compute.rows(unit, "cpu"), columns=COLUMNS)


@pytest.mark.parametrize("setting", design.SETTINGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_table_agrees_with_an_independent_training_loop(setting, optimizer):
    digits = compute.parted(data.load("Digits"))
    seed, arms = 1, ("default", "decorrelated", "alive")
    rows = frame(Training("Digits", setting, optimizer, arms, (0, seed), epochs=2))
    for arm in arms:
        sizes = (64, *design.SETTINGS[setting], 10)
        net = nn.Sequential(
            *[m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.ReLU())][:-1]
        )
        epoch_orders = [
            o[0] for _, o in zip(range(2), population.orders([seed], len(digits.x_train)))
        ]
        start_(net, arm, digits.x_train[epoch_orders[0][:1024]], streams.generator("draw", seed))
        update = (
            torch.optim.SGD(net.parameters(), 0.01)
            if optimizer == "sgd"
            else torch.optim.Adam(net.parameters(), 0.001)
        )
        for epoch in range(3):
            if epoch:
                for index in epoch_orders[epoch - 1].split(8):
                    update.zero_grad()
                    nn.functional.cross_entropy(
                        net(digits.x_train[index]), digits.y_train[index]
                    ).backward()
                    update.step()
            with torch.no_grad():
                logits = net(digits.x_test)
            expected = {
                "accuracy": (logits.argmax(1) == digits.y_test).float().mean().item(),
                "loss": nn.functional.cross_entropy(logits, digits.y_test).item(),
            }
            found = (
                rows[(rows.arm == arm) & (rows.seed == seed) & (rows.epoch == epoch)]
                .set_index("measure")
                .value
            )
            assert found.accuracy == pytest.approx(
                expected["accuracy"], abs=3 / 360
            )  # float32, and near-ties
            assert found.loss == pytest.approx(expected["loss"], rel=5e-3)


@pytest.mark.parametrize("optimizer", ["sgd@0.1", "adam@0.01"])
def test_convolutional_networks_agree_with_an_independent_training_loop(optimizer):
    digits, seed = compute.parted(data.load("Digits")), 1
    arms = ("default", "balanced")
    rows = frame(Convolution("Digits", optimizer, arms, (0, seed)))
    x, y, test = digits.x_train.view(-1, 1, 8, 8), digits.y_train, digits.x_test.view(-1, 1, 8, 8)
    for arm in arms:
        torch.manual_seed(streams.generator("draw", seed).initial_seed())
        first, second, last = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(64, 10)

        def whole(images):
            h = nn.functional.conv2d(images, first.weight, first.bias, 2, 1).relu()
            h = nn.functional.conv2d(h, second.weight, second.bias, 2, 1).relu()
            return last(h.flatten(1))

        epochs = [o[0] for _, o in zip(range(5), population.orders([seed], len(x)))]
        if arm == "balanced":
            net = convolutions.network((8, 8), design.FILTERS, 10)
            for to, of in zip((net[0], net[2], net[5]), (first, second, last)):
                to.load_state_dict(of.state_dict())
            init.decorrelate_(net, inputs=x[epochs[0][:1024]])
            for of, to in zip((net[0], net[2], net[5]), (first, second, last)):
                to.load_state_dict(of.state_dict())
        parameters = [p for layer in (first, second, last) for p in layer.parameters()]
        name, lr = design.learning_rate(optimizer)
        update = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name](parameters, lr)
        for epoch in range(6):
            for index in epochs[epoch - 1].split(64) if epoch else ():
                update.zero_grad()
                nn.functional.cross_entropy(whole(x[index]), y[index]).backward()
                update.step()
            with torch.no_grad():
                logits = whole(test)
            at = (rows.arm == arm) & (rows.seed == seed) & (rows.epoch == epoch)
            found = rows[at].set_index("measure").value
            right = (logits.argmax(1) == digits.y_test).float().mean().item()
            assert found.accuracy == pytest.approx(right, abs=3 / 360)
            loss = nn.functional.cross_entropy(logits, digits.y_test).item()
            assert found.loss == pytest.approx(loss, rel=5e-3)


def test_an_observation_measures_what_the_measures_do_and_trains_alike():
    unit = Training(
        "Digits", "tiny", "sgd", ("default", "decorrelated"), (0, 1), epochs=1, **OBSERVED
    )
    rows = frame(unit)
    plain = frame(Training("Digits", "tiny", "sgd", unit.arms, unit.seeds, epochs=1))
    both = rows.merge(
        plain.astype({"epoch": float}), on=COLUMNS[:-1]
    )  # what is observed does not change what is learnt
    assert len(both) == len(plain) == 16 and (both.value_x == both.value_y).all()
    assert sorted(rows.epoch.unique()) == pytest.approx(
        [0, *(2**k / 165 for k in range(8)), 1], abs=1e-6
    )

    # the same network trained alone, and its measures one by one with NumPy
    digits = compute.parted(data.load("Digits"))
    net = start_(
        population.network((64, 4, 4, 4, 10)), "decorrelated", None, streams.generator("draw", 1)
    )
    update = torch.optim.SGD(net.parameters(), 0.01)
    for index in next(population.orders([1], len(digits.x_train)))[0].split(8):
        update.zero_grad()
        nn.functional.cross_entropy(net(digits.x_train[index]), digits.y_train[index]).backward()
        update.step()
    with torch.no_grad():
        h = net[:4](digits.x_test)  # after the second hidden layer
        whole = (net(digits.x_test).argmax(1) == digits.y_test).double().mean().item()
        h[:, 3] = 0
        without = (net[4:](h).argmax(1) == digits.y_test).double().mean().item()
        h = net[:4](digits.x_held).double().numpy()
    last = (
        rows[(rows.arm == "decorrelated") & (rows.seed == 1) & (rows.epoch == 1)]
        .set_index(["layer", "measure"])
        .value
    )
    assert last["2", "dead"] == (h == 0).all(0).mean()
    varied = h[:, h.std(0) > 1e-6]
    correlation = np.corrcoef(varied.T)[np.triu_indices(varied.shape[1], 1)]
    assert last["2", "correlation"] == pytest.approx(np.abs(correlation).mean(), abs=2e-3)
    singular = np.linalg.svd(varied - varied.mean(0), compute_uv=False)
    share = singular / singular.sum()
    assert last["2", "effective_rank"] == pytest.approx(
        np.exp(-(share * np.log(share)).sum()), rel=1e-2
    )
    assert last["2.3", "lesion"] == pytest.approx(whole - without, abs=4 / 360)
    assert last["3", "ensemble"] == pytest.approx(
        last["3", "member"] - last["3", "ambiguity"], rel=1e-3
    )


def test_an_observation_of_some_arms_is_the_one_of_all_without_the_others():
    whole = Training(
        "Digits", "tiny", "sgd", ("default", "he", "decorrelated"), (0, 1), epochs=1, **OBSERVED
    )
    rows, part = map(
        frame, (whole, dataclasses.replace(whole, observed=("default", "decorrelated")))
    )
    kept = rows[(rows.arm != "he") | ((rows.layer == "") & (rows.epoch % 1 == 0))]
    order = COLUMNS[:-1]
    expected, found = (t.sort_values(order).reset_index(drop=True) for t in (kept, part))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ValueError, match="unknown observed arm 'alive'; choose one of default, he, decorrelated"
    ):
        dataclasses.replace(whole, observed=("alive",))


def test_numbers_have_the_digits_of_their_precision_and_no_more():
    values = torch.tensor([0.1, 1 / 3, float("nan"), -float("inf")])
    assert compute.listed(values)[:2] == [0.1, 0.33333334] and np.isnan(compute.listed(values)[2])
    assert torch.equal(
        torch.tensor(compute.listed(values[[0, 1, 3]])), values[[0, 1, 3]]
    )  # to the last bit
    assert compute.listed(values.double()[1:2]) == values.double()[1:2].tolist()


def test_portraits_show_the_least_and_the_most_correlated_network():
    unit = Training(
        "Digits",
        "shallow",
        "adam",
        ("default",),
        tuple(range(4)),
        epochs=1,
        records=("accuracy", "portraits"),
    )
    rows = frame(unit)
    last = rows[(rows.measure == "pair") & (rows.epoch == 1)]
    chosen = rows[rows.measure == "weight"].seed.unique()
    assert len(chosen) == 2 and len(rows[rows.measure == "weight"]) == 2 * 16 * 64
    assert {len(g) for _, g in last.groupby("seed")} == {256}
    assert set(last.seed) == {0, *chosen}
    least, most = (last[last.seed == s].value.abs().mean() for s in chosen)
    assert least < most


def test_images_are_those_that_networks_see_and_the_facts_those_of_the_data():
    unit = Training(
        "Digits", "tiny", "sgd", ("default",), (0, 1), epochs=1, records=("accuracy", "images")
    )
    rows, whole = frame(unit), data.load("Digits")
    images = findings.sample_images(rows)
    assert len(images) == 10 * design.SHOWN * 64 and [*images["class"].unique()] == list(
        "0123456789"
    )
    held = {tuple(x) for x in compute.parted(whole).x_held.tolist()}
    known = {tuple(x): int(y) for x, y in zip(whole.x_train.tolist(), whole.y_train)}
    for (label, _), image in images.groupby(["class", "sample"]):
        seen = tuple(torch.tensor([*image.value], dtype=torch.float32).tolist())
        assert known[seen] == int(label) and seen not in held
    [facts] = findings.data_facts(rows).itertuples()
    assert (facts.training, facts.test, facts.side) == (1437, 360, 8)
    raw = whole.x_train * whole.std + whole.mean
    assert (facts.raw_mean, facts.raw_std) == pytest.approx(
        (raw.mean().item(), raw.std().item()), rel=1e-3
    )


def test_names_of_classes_are_those_of_the_published_data():
    assert {"FashionMNIST": tuple(datasets.FashionMNIST.classes)} == LABELS


def test_directions_against_numpy_one_pair_at_a_time():
    rows = frame(Directions("tiny", ("default",), (5,)))
    nets = [
        init.default_(population.network((784, 4, 4, 4)), streams.generator("draw", s))
        for s in (5, 5 + design.PARTNER)
    ]
    w, other = (net[2].weight.detach().numpy().astype(float) for net in nets)

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    pairs = [cosine(w[i], w[j]) for i in range(4) for j in range(i)]
    across = [cosine(w[i], other[i]) for i in range(4)]
    found = rows[rows.layer == "2"].set_index("measure").value
    expected = {
        "similarity": np.mean(np.abs(pairs)),
        "max_similarity": np.max(np.abs(pairs)),
        "cosine": np.mean(pairs),
        "across": np.mean(np.abs(across)),
        "row_cosine": across[0],
    }
    assert found.to_dict() == pytest.approx(expected)


def test_held_out_images_are_not_trained_on_and_what_is_tuned_is_not_tested_on_test_images():
    whole = data.load("Digits")
    plain, tuned = compute.parted(whole), compute.parted(whole, tuned=True)

    def rows(x):
        return {tuple(row) for row in x.tolist()}

    held = rows(plain.x_held)
    assert len(plain.x_held) == 119 and torch.equal(plain.x_held, tuned.x_held)
    assert len(plain.x_train) == 1437 - 119 and not held & rows(plain.x_train)
    assert torch.equal(plain.x_test, whole.x_test)
    assert not rows(tuned.x_test) & rows(tuned.x_train) and not held & rows(tuned.x_test)
    assert rows(tuned.x_test) <= rows(whole.x_train)


@pytest.mark.parametrize(
    "start, alike, noise", [("half_alike_1", 4, 0.01), ("all_alike_10", 8, 0.1)]
)
def test_alike_starts_have_near_duplicates_of_the_same_draw(start, alike, noise):
    def weights(name):
        net = start_(population.network((784, 8, 8, 10)), name, None, streams.generator("draw", 3))
        return net

    plain, made = weights("default"), weights(start)
    assert torch.equal(plain[4].weight, made[4].weight)  # the last layer is left alone
    for layer in (0, 2):
        w, before = made[layer].weight, plain[layer].weight
        assert torch.equal(w[0], before[0]) and torch.equal(w[alike:], before[alike:])
        apart = (w[1:alike] - w[0]).norm(dim=1) / w[0].norm()
        assert apart.mean().item() == pytest.approx(noise, rel=0.5) and apart.min() > 0
        assert (made[layer].bias[:alike] == plain[layer].bias[0]).all()


def test_an_arm_whose_technique_is_off_has_the_rows_of_the_arm_without_it():
    off, on = "default+log_volume:constant@0", "default+log_volume:constant@1"
    unit = Training(
        "Digits",
        "tiny",
        "sgd",
        ("default", off, on),
        (0,),
        epochs=1,
        records=("accuracy", "layers"),
    )
    rows = frame(unit)
    by = {arm: part.drop(columns="arm").reset_index(drop=True) for arm, part in rows.groupby("arm")}
    pd.testing.assert_frame_equal(by["default"], by[off], check_exact=True)
    assert (by["default"].value != by[on].value).any()
    plateau = frame(dataclasses.replace(unit, records=("plateau",), looks="every few steps"))
    assert set(plateau[plateau.arm == off].measure) == {"accuracy"}
    assert set(plateau[plateau.arm == "default"].measure) == {
        "accuracy",
        "loss",
        "dead",
        "duplicates",
    }
    parity = frame(design.Parity("XOR", "1×2", ("default", off), (0,)))
    assert set(parity[parity.arm == off].measure) == {"accuracy"}
