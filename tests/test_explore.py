"""What explore.ipynb shows: the same as its lines and as the experiments; and its buttons."""

import asyncio
import re

import numpy as np
import pandas as pd
import pytest

from dndiv.paper import compute, data, explore
from dndiv.paper.design import Training
from dndiv.paper.figures import explore as pictures
from dndiv.paper.names import COLUMNS

COSINE, REDRAWN = "+weight_cosine:dynamic@0.5", "+reinitialize:dynamic@0.2"
UNITS = [
    Training("Digits", "3×6", "sgd@0.02", ("default", "decorrelated"), (0, 1, 2), 2),
    Training("MNIST1D", "2×5", "adam@0.003", (f"he{COSINE}", f"alive{COSINE}"), (0, 1), 1),
    Training("Digits", "1×8", "adam@0.01", ("all_alike_1", f"all_alike_1{REDRAWN}"), (0,), 2),
]


@pytest.mark.parametrize("unit", UNITS, ids=("starts", "a penalty on both", "a change on one"))
def test_the_lines_and_the_experiments_give_the_same_numbers(unit):
    looks, lines = [look for look in explore.course(unit) if look], {}
    text = explore.code(unit)
    assert max(map(len, text.splitlines())) <= 100 and "explore" not in text
    exec(text, lines)
    assert lines["epochs"] == [look.epoch for look in looks]
    for accuracy, look in zip(lines["accuracies"], looks):
        np.testing.assert_array_equal(accuracy.numpy(), look.accuracy)
    np.testing.assert_array_equal(lines["weights"].numpy(), looks[-1].weights)
    assert len(lines["correlations"]) == len(looks[-1].correlations)
    for found, seen in zip(lines["correlations"], looks[-1].correlations):
        np.testing.assert_array_equal(found.numpy(), seen)
        assert seen.shape == (2, *[looks[-1].weights.shape[1]] * 2)
    assert not np.array_equal(looks[0].weights, looks[-1].weights)  # a look keeps what it has seen

    table = pd.DataFrame(compute.rows(unit, "cpu"), columns=COLUMNS)
    wide = table[table.measure == "accuracy"].pivot(index=["epoch", "seed"], columns="arm")["value"]
    whole = [look for look in looks if look.epoch == int(look.epoch)]
    assert len(whole) == unit.epochs + 1
    for look in whole:
        expected = wide.loc[int(look.epoch)][[str(arm) for arm in unit.arms]]
        np.testing.assert_allclose(look.accuracy, expected, atol=1e-12)


@pytest.fixture(scope="module")
def first():
    return explore.Panel()


@pytest.fixture
def panel(first, monkeypatch):
    """The panel, its controls as they are at first, with networks that train in no time, and
    pictures that are not written."""
    monkeypatch.setattr(pictures, "png", lambda figure: b"")
    for name, control in explore._controls().items():
        first.controls[name].value = control.value
    choose(first, seeds=2, epochs=2)
    return first


def choose(panel, **values):
    for name, value in values.items():
        panel.controls[name].value = value


def said(panel):
    return re.fullmatch(r"<span [^>]*>([^<\n]*)</span>", panel.status.value).group(1)


def pressed(panel, *steps):
    """Steps one after the other, the last network's training to its end."""

    async def press():
        for step in steps:
            step()
            for _ in range(6):
                await asyncio.sleep(0.001)
        if not panel._task.cancelled():
            await asyncio.wait([panel._task])

    asyncio.run(press())


def test_a_first_result_is_there_before_anything_is_pressed(first):
    assert len(first.looks) == 9 and first.looks[-1].epoch == first.trained.epochs
    assert all(bytes(image.value).startswith(b"\x89PNG") for image in first.images.values())


def test_pictures_change_while_networks_train(panel, monkeypatch):
    monkeypatch.undo()  # these are written
    shown, drawn = [], type(panel)._show

    def show(self, *given):
        drawn(self, *given)
        shown.append(tuple(bytes(image.value) for image in self.images.values()))

    monkeypatch.setattr(explore.Panel, "_show", show)
    pressed(panel, panel.train)
    assert len(shown) == len(panel.looks) == 6  # the start, three quarters, two epochs
    for pictures_of_one in zip(*shown):
        assert len(set(pictures_of_one)) == 6
    a, b = 100 * panel.looks[-1].accuracy.mean(0)
    assert f"after 2 of 2 epochs, mean over seeds (2): A {a:.1f} %, B {b:.1f} %" in said(panel)


def test_a_second_press_trains_what_is_chosen_by_then(panel):
    def other():
        choose(panel, data="MNIST1D", depth=1, epochs=1)
        panel.train()

    choose(panel, epochs=100)
    pressed(panel, panel.train, other)
    assert (panel.trained.data, panel.trained.setting) == ("MNIST1D", "1×8")
    assert [look.epoch for look in panel.looks] == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.01)
    assert panel.images["weights"].layout.display == "none"  # series are no images
    choose(panel, data="Digits")
    pressed(panel, panel.train, panel.train)
    assert panel.images["weights"].layout.display is None and panel.trained.data == "Digits"


def test_stop_keeps_what_there_is(panel):
    choose(panel, epochs=100)
    pressed(panel, panel.train, panel.stop)
    assert said(panel).startswith("Stopped. Test accuracy after")
    pressed(panel, panel.stop)  # again: nothing to stop
    assert panel._task.cancelled()
    exec(explore.code(panel.trained), lines := {})  # the whole run, of which a part is shown
    last = panel.looks[-1]
    k = lines["epochs"].index(last.epoch)
    np.testing.assert_array_equal(lines["accuracies"][k].numpy(), last.accuracy)
    pressed(panel, lambda: choose(panel, epochs=1), panel.train)
    assert panel.looks[-1].epoch == 1


def test_what_is_chosen_and_not_trained_is_said_and_training_is_not_talked_over(panel):
    pressed(panel, panel.train)
    assert said(panel).startswith("Test accuracy after")
    choose(panel, A="looks_linear")
    assert said(panel).startswith("Press Train; shown is what was trained before. Test accuracy")
    choose(panel, A="default")
    assert said(panel).startswith("Test accuracy after")
    choose(panel, epochs=100)
    seen = []
    pressed(
        panel, panel.train, lambda: (choose(panel, seeds=3), seen.append(said(panel))), panel.stop
    )
    assert seen[0].startswith(("Loading", "Drawing", "Training, epoch"))


@pytest.mark.parametrize(
    "values, words",
    [
        ({"A": "looks_linear", "width": 7}, "make the width even"),
        ({"B": "default"}, "A and B are the same"),
        ({"rate": 0.0}, "is no positive number"),
        ({"rate": float("nan")}, "is no positive number"),
        ({"technique": "orthogonal_step", "coefficient": 1.5}, "from 0 to 1, not 1.5"),
        ({"technique": "log_volume", "coefficient": -1.0}, "not -1.0"),
    ],
)
def test_what_is_impossible_is_said_in_a_line_and_nothing_else_changes(panel, values, words):
    panel.controls["depth"].value = 2
    before = panel.trained, panel.looks, [i.value for i in panel.images.values()]
    choose(panel, **values)
    pressed(panel, panel.train)
    assert words in said(panel) and "firebrick" in panel.status.value
    assert before == (panel.trained, panel.looks, [i.value for i in panel.images.values()])


def test_data_that_cannot_be_had_are_named(panel, monkeypatch):
    def load(name):
        raise data.DataUnavailable(f"{name} …")

    monkeypatch.setattr(data, "load", load)
    choose(panel, data="FashionMNIST")
    pressed(panel, panel.train)
    assert said(panel).startswith("Fashion-MNIST is not here and cannot be downloaded: choose Dig")


def test_the_code_follows_what_is_chosen(panel):
    panel.buttons["code"].value = True
    choose(panel, technique="reinitialize")
    assert panel.controls["coefficient"].value == 0.05
    assert "Dose(&quot;reinitialize&quot;, 0.05, &quot;dynamic&quot;" in panel.lines.value
    choose(panel, optimizer="adam", on="A and B")
    assert panel.controls["rate"].value == 0.001 and "[dose, dose]" in panel.lines.value
    choose(panel, B="default")  # the same as A: no lines, but why
    assert panel.lines.value == "" and "the same" in said(panel)
    choose(panel, B="relayed")
    assert "relayed" in panel.lines.value and "the same" not in said(panel)
    panel.buttons["code"].value = False
    assert panel.lines.value == ""


def test_curves_are_of_all_seeds_and_their_mean(first):
    unit, looks = first.trained, first.looks
    [ax] = pictures.curves(unit, looks).axes
    found = np.stack([look.accuracy for look in looks]) * 100
    expected = [line for k in (0, 1) for line in (*found[..., k].T, found[..., k].mean(1))]
    assert len(ax.lines) == len(expected)
    for line, values in zip(ax.lines, expected):
        np.testing.assert_allclose(line.get_ydata(), values)


def test_weights_that_are_zero_or_not_finite_are_drawn(recwarn):
    weights = np.stack([np.zeros((1, 64)), np.full((1, 64), np.nan)])
    look = pictures.Look(0.0, np.zeros((1, 2)), weights, [np.full((2, 1, 1), np.nan)])
    for draw in pictures.PICTURES.values():
        assert pictures.png(draw(UNITS[0], [look]))
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
