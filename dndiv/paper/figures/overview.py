"""Pictures of the data (00_overview)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper.figures import square
from dndiv.paper.names import DATA, title


def samples(images: pd.DataFrame) -> plt.Figure:
    """Sample images, a row of panels per data set and sample, a column per class.
    Columns: data, class, sample, pixel, value; images are square."""
    sets = images.groupby("data", sort=False)
    figure = plt.figure(figsize=(10, 3.4 * len(sets)))
    for part, (name, here) in zip(np.atleast_1d(figure.subfigures(len(sets), 1)), sets):
        part.suptitle(title(name, DATA))
        classes = here.groupby("class", sort=False)
        axes = part.subplots(images["sample"].nunique(), len(classes), squeeze=False)
        for column, (label, shown) in zip(axes.T, classes):
            column[0].set_title(label, fontsize="small")
            for ax, (_, pixels) in zip(column, shown.groupby("sample")):
                ax.imshow(square(pixels.value), cmap="gray_r")
                ax.set_axis_off()
    return figure
