"""CuPy, on a card."""

import math

LABEL = "cupy"


def ranks(case, scores):
    """argsort: indices, lowest score first."""
    import cupy

    return cupy.argsort(scores, axis=-1)


def sort(case, scores):
    """The scores, lowest first."""
    import cupy

    return cupy.sort(scores, axis=-1)


def topk(case, scores):
    """argpartition: indices, of which the last k are those of the k largest."""
    import cupy

    return cupy.argpartition(scores, case.length - math.ceil(case.k), axis=-1)


def sees_card():
    """Whether there is a card that it can work on."""
    import cupy

    return cupy.cuda.is_available()


def on_stream(stream):
    """How it takes an array of the card without a copy, and a function whose context has its work go to the stream."""
    import cupy

    return cupy.asarray, lambda: cupy.cuda.ExternalStream(int(stream))


MODULES: dict[str, dict] = {"cupy": {}}
ON_CARD = {"rank": ranks, "sort": sort, "topk": topk, "log-topk": topk}
