"""What it costs to train many small networks: a population, other ways, the arithmetic alone.

Every method (``methods.py``) trains the same networks, 10 seeds × 10 arms or some of them, from the
same weights on the same mini-batches of MNIST. They take turns (``measure.py``), so that other work
falls on all, though it slows those with threads or one process more: measure on an idle machine.
The table (``report.py``) has medians and ranges, in microseconds per network and step. The floor is
no method: the operations of a step's matrix products, at the rate of large products.
"""
