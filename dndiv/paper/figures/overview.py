"""Pictures of the data (00_overview)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper.figures import Panels, drawing, narrow, square
from dndiv.paper.names import DATA, title


@drawing
def samples(images: pd.DataFrame) -> plt.Figure:
    """Sample images of every class, a column each, and a row of panels per data set.
    Columns: data, class, sample, pixel, value; images are square."""
    share = {"sharex": False, "sharey": False}
    column = images.groupby("data")["class"].transform(lambda names: pd.factorize(names)[0])
    images = images.assign(column=column)
    panels = Panels(images, ["data"], ["column"], 2.5 if narrow() else 3.6, across=5, **share)
    for ax, shown, _ in panels:
        each = [square(pixels.value) for _, pixels in shown.groupby("sample")]
        ax.imshow(np.concatenate(each), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title(shown["class"].iloc[0])
    return panels.finish("", [title(name, DATA) for (name,) in panels.rows])
