"""What things are called, in tables and to readers: what has no title is shown by its name."""

COLUMNS = ["data", "setting", "optimizer", "arm", "seed", "layer", "epoch", "measure", "value"]
CELL = ["data", "setting", "optimizer"]  # what stays the same within a comparison

ARCHIVED = ("MNIST", "FashionMNIST")
SERIES = "MNIST1D"  # made from a fixed seed, on every machine
DATA_SETS = (*ARCHIVED, "Digits", SERIES)

DATA = {
    "MNIST": "MNIST",
    "FashionMNIST": "Fashion-MNIST",
    "Digits": "Digits (embedded)",
    "MNIST1D": "MNIST-1D",
    "XOR": "XOR",
    "Parity3": "3-bit parity",
}
LABELS = {  # those of the others are digits
    "FashionMNIST": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}
STARTS = {
    "default": "PyTorch's default",
    "zero_bias": "biases zero",
    "he_scale": "He's scale",
    "simplex_standardized": "simplex, standardized",
    "simplex_alive": "simplex, alive",
    "default_decorrelated": "default, decorrelated",
    "default_simplex": "default, simplex",
    "default_gram": "Gram ascent at the default scale",
    "balanced": "decorrelate_ with inputs",
    "glorot": "Glorot",
    "he": "He",
    "lsuv": "LSUV",
    "rai": "RAI",
    "rai_decorrelated": "RAI, decorrelated",
    "looks_linear": "looks-linear",
    "rewired": "He, rewired",
    "rewired_decorrelated": "He, rewired, decorrelated",
    "deep_narrow": "deep-narrow",
    "anyinit": "AnyInit",
    "anyinit_decorrelated": "AnyInit, decorrelated",
}
NETWORKS = {
    "cnn": "CNN",
    "cnn_batch_norm": "CNN with batch norm",
    "resnet18": "ResNet-18",
    "transformer": "Transformer",
}
TECHNIQUES = {
    "activation_decorrelation": "DeCov",
    "log_volume": "log-volume",
    "orthoreg": "OrthoReg",
    "soft_orthogonality": "SO",
    "srip": "SRIP",
    "mma": "MMA",
    "redo": "ReDo",
    "muon": "Muon",
}
MEASURES = {  # of diversity, signed so that larger is more diverse
    "effective_rank": "effective rank / width",
    "correlation": "−|correlation| of activations",
    "similarity": "−|cosine| of weights",
    "log_volume": "log-volume of weights",
    "dead": "−dead units",
}


def title(name: str, titles: dict[str, str]) -> str:
    """The title of a name; without one, the name itself in words."""
    return titles.get(name) or name.replace("_", " ")
