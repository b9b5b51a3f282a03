"""Two arms side by side, trained while one looks on: what explore.ipynb shows in JupyterLab.

``course`` trains what is chosen as the experiments do, ``code`` writes the same as plain lines of
Python, and ``Panel`` is what there is to choose, to press and to see.
"""

import asyncio
import html
import itertools
from collections.abc import Iterator

import ipywidgets as widgets

from dndiv import diversity, population
from dndiv.dosing import Dosing
from dndiv.paper import compute, data, design
from dndiv.paper.arms import Arm
from dndiv.paper.design import GRID, LEARNING_RATES, Training
from dndiv.paper.figures import explore as pictures
from dndiv.paper.names import DATA, DATA_SETS, OPTIMIZERS, SERIES, STARTS, TECHNIQUES, title
from dndiv.paper.starts import STARTS as ALL_STARTS

BREATH = 25  # steps between two moments at which buttons are listened to
TABLE = {  # on a desk three beside each other, on a phone below
    "display": "grid",
    "grid_template_columns": "repeat(auto-fit, minmax(min(250px, 100%), 1fr))",
    "align_items": "flex-start",
}
PICTURE = {"max_width": "min(380px, 100%)", "min_width": "0"}
PRE = (  # a click selects all of it
    '<pre style="white-space: pre; overflow-x: auto; user-select: all; line-height: 1.35; '
    'padding: 8px; border: 1px solid">{}</pre>'
)


def course(unit: Training) -> Iterator[pictures.Look | None]:
    """Train the networks of a unit, and look at them at the start, at the quarters of the first
    epoch, and at the end of each; None, every few steps between, is time for something else.

    ValueError where a start or a dose is impossible; DataError where there are no data.
    """
    here, batch = compute.parted(data.load(unit.data)), design.BATCH[unit.data]
    x, y, some = here.x_train, here.y_train, here.x_train[: design.INIT_BATCH]
    sizes = (x.shape[1], *design.hidden_layers(unit.setting), len(here.classes))

    def first_seen(seed):
        return x[next(population.orders([seed], len(x)))[0][: design.INIT_BATCH]]

    per_epoch = population.steps_per_epoch(len(x), batch)
    trained = population.Population(
        compute.networks(unit, sizes, first_seen),
        population.Optimizer(*design.learning_rate(unit.optimizer)),
        techniques=Dosing(compute.doses(unit, per_epoch), unit.seeds, some),
    )
    quarters = compute.LOOKS["quarters"](per_epoch, unit.epochs)
    pauses = {*quarters, *range(0, unit.epochs * per_epoch, BREATH)}
    for step in population.train(trained, x, y, unit.seeds, batch, unit.epochs, pauses):
        if step % per_epoch and step not in quarters:
            yield None
            continue
        *hidden, _ = (h[: trained.arms] for h in trained.forward(here.x_held.unsqueeze(0)))
        yield pictures.Look(
            step / per_epoch,
            trained.evaluate(here.x_test, here.y_test)[0].numpy(),
            trained.weights[0][0].numpy().copy(),
            [diversity.correlation_matrix(h)[0].numpy() for h in hidden],
        )


def code(unit: Training) -> str:
    """Lines of Python that train the same networks and look at them alike, without this module.

    Arms that have a technique have the same one. ValueError where its coefficient is impossible.
    """
    hidden, optimizer = design.hidden_layers(unit.setting), design.learning_rate(unit.optimizer)
    starts = ", ".join(f'"{arm.start}"' for arm in unit.arms)
    doses = compute.doses(unit, per_epoch=1)
    imports = dosing = ""
    for d in filter(None, doses):
        given = ", ".join("dose" if d else "None" for d in doses)
        imports = "from dndiv.dosing import Dosing\nfrom dndiv.techniques import Dose\n"
        dosing = f"""
dose = Dose("{d.name}", {d.coefficient}, "{d.schedule}", every={d.every})
techniques = Dosing([{given}], seeds, x[:{design.INIT_BATCH}])"""
    return f"""\
from dndiv import diversity, population, streams
from dndiv.paper import compute, data
from dndiv.paper.starts import start_
{imports}
here = compute.parted(data.load("{unit.data}"))  # some training inputs are held out
x, y, seeds, batch = here.x_train, here.y_train, range({len(unit.seeds)}), {design.BATCH[unit.data]}
sizes = (x.shape[1], *[{hidden[0]}] * {len(hidden)}, len(here.classes))


def started(start, seed):
    first_seen = x[next(population.orders([seed], len(x)))[0][:{design.INIT_BATCH}]]
    return start_(population.network(sizes), start, first_seen, streams.generator("draw", seed))


networks = [[started(start, seed) for start in ({starts})] for seed in seeds]
optimizer = population.Optimizer("{optimizer[0]}", {optimizer[1]}){dosing}
trained = population.Population(networks, optimizer{", techniques=techniques" if dosing else ""})
per_epoch = population.steps_per_epoch(len(x), batch)
quarters = [per_epoch * k // 4 for k in (1, 2, 3)]
epochs, accuracies = [], []
for step in population.train(trained, x, y, seeds, batch, {unit.epochs}, quarters):
    epochs.append(step / per_epoch)
    accuracies.append(trained.evaluate(here.x_test, here.y_test)[0])  # [seeds, arms]

weights = trained.weights[0][0]  # of the first seed: [arms, units, inputs]
*hidden, _ = trained.forward(here.x_held.unsqueeze(0))
correlations = [diversity.correlation_matrix(h[:2])[0] for h in hidden]  # [arms, units, units]
"""


class Panel(widgets.VBox):
    """What to choose, the buttons, and what comes of it; a first result is there at once.

    ``controls``, ``buttons`` and ``images`` by name; ``trained`` and ``looks`` are of the networks
    that are shown.
    """

    def __init__(self):
        self.controls, self.status, self.lines = _controls(), widgets.HTML(), widgets.HTML()
        self.images = {name: widgets.Image(layout=PICTURE) for name in pictures.PICTURES}
        self.buttons = {
            "train": widgets.Button(description="Train", button_style="primary"),
            "stop": widgets.Button(description="Stop"),
            "code": widgets.ToggleButton(description="Show the code"),
        }
        for button in self.buttons.values():
            button.layout.width = "auto"
        self.buttons["train"].on_click(lambda _: self.train())
        self.buttons["stop"].on_click(lambda _: self.stop())
        for control in (*self.controls.values(), self.buttons["code"]):
            control.observe(self._changed, "value")
        chosen, pressed, shown = (
            widgets.Box([*found.values()], layout=layout)
            for found, layout in ((self.controls, TABLE), (self.buttons, {}), (self.images, TABLE))
        )
        super().__init__([chosen, pressed, self.status, self.lines, shown])
        self._task: asyncio.Task | None = None
        self._show(self.unit(), [look for look in course(self.unit()) if look])
        self._say(self._result())

    def unit(self) -> Training:
        """What is chosen. ValueError says what is impossible."""
        v = {name: control.value for name, control in self.controls.items()}
        technique = (v["technique"], "dynamic", v["coefficient"]) if v["technique"] else ()
        arms = Arm(v["A"], *(technique if v["on"] == "A and B" else ())), Arm(v["B"], *technique)
        if arms[0] == arms[1]:
            raise ValueError("A and B are the same: choose another start, or a technique on B")
        setting, optimizer = f"{v['depth']}×{v['width']}", f"{v['optimizer']}@{v['rate']!r}"
        return Training(v["data"], setting, optimizer, arms, tuple(range(v["seeds"])), v["epochs"])

    def train(self) -> None:
        """Train what is chosen; what is being trained is given up."""
        self.stop()
        self._task = asyncio.get_running_loop().create_task(self._train())

    def stop(self) -> None:
        if self._task and not self._task.done():
            self._task.cancel()
            self._say(f"Stopped. {self._result()}")

    async def _train(self) -> None:
        try:
            unit, looks = self.unit(), []
            self._say(f"Loading {title(unit.data, DATA)} …")
            await asyncio.to_thread(data.load, unit.data)  # which may be a download
            self._say("Drawing the networks …")
            looking = course(unit)
            first = await asyncio.to_thread(next, looking)
            for look in itertools.chain([first], looking):
                if look:
                    looks.append(look)
                    self._show(unit, looks)
                    self._say(f"Training, epoch {round(look.epoch, 2):g} of {unit.epochs} …")
                await asyncio.sleep(0)  # buttons are listened to
            self._say(self._result())
        except Exception as error:  # whatever it is: nobody else can say it
            self._refuse(error)

    def _show(self, unit: Training, looks: list[pictures.Look]) -> None:
        self.trained, self.looks = unit, looks
        for name, image in self.images.items():
            drawn = name != "weights" or unit.data != SERIES  # whose inputs are no images
            image.layout.display = None if drawn else "none"
            if drawn:
                image.value = pictures.png(pictures.PICTURES[name](unit, looks))

    def _changed(self, change) -> None:
        """A control has another value: what follows from it."""
        if change.owner is self.controls["optimizer"]:
            self.controls["rate"].value = LEARNING_RATES[change.new]
        if change.owner is self.controls["technique"] and change.new:
            self.controls["coefficient"].value = GRID[change.new][len(GRID[change.new]) // 2]
        self.lines.value = ""
        try:
            lines = html.escape(code(self.unit()))
        except ValueError as error:
            self._refuse(error)
        else:
            self.lines.value = PRE.format(lines) * self.buttons["code"].value
            if not self._task or self._task.done():  # or else it is said how far that is
                other = self.unit() != self.trained
                self._say(
                    "Press Train; shown is what was trained before. " * other + self._result()
                )

    def _result(self) -> str:
        last, n = self.looks[-1], len(self.trained.seeds)
        a, b = 100 * last.accuracy.mean(0)
        after = f"Test accuracy after {round(last.epoch, 2):g} of {self.trained.epochs} epochs"
        return f"{after}, mean over seeds ({n}): A {a:.1f} %, B {b:.1f} %"

    def _refuse(self, error: Exception) -> None:
        text = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, data.DataUnavailable):
            text = (
                f"{title(self.controls['data'].value, DATA)} is not here and cannot be downloaded: "
                "choose Digits or MNIST-1D, or set DNDIV_DATA_SOURCE"
            )
        self._say(text, "color: firebrick")

    def _say(self, text: str, style: str = "") -> None:
        self.status.value = f'<span role="status" style="{style}">{html.escape(text)}</span>'


def _controls() -> dict[str, widgets.ValueWidget]:
    """What can be chosen, by name."""

    def pick(text, value, options):
        return widgets.Dropdown(options=options, value=value, description=text)

    def count(text, value, most):
        return widgets.BoundedIntText(value, min=1, max=most, description=text)

    def titled(names, titles):
        return [(title(name, titles), name) for name in names]

    starts = titled(ALL_STARTS, STARTS)
    techniques = [("none", ""), *titled(GRID, TECHNIQUES)]
    found = {
        "data": pick("data", "Digits", titled(DATA_SETS, DATA)),
        "A": pick("start of A", "default", starts),
        "B": pick("start of B", "decorrelated", starts),
        "depth": count("hidden layers", 5, 20),
        "width": count("units in each", 8, 256),
        "seeds": count("seeds", 5, 50),
        "optimizer": pick("optimizer", "sgd", titled(LEARNING_RATES, OPTIMIZERS)),
        "rate": widgets.FloatText(LEARNING_RATES["sgd"], description="learning rate"),
        "epochs": count("epochs", 5, 100),
        "technique": pick("technique", "", techniques),
        "coefficient": widgets.FloatText(0.0, description="coefficient"),
        "on": pick("acts on", "B", ("B", "A and B")),
    }
    for control in found.values():
        control.layout.width, control.style.description_width = "auto", "90px"
    return found
