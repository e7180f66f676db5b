"""Small cases of the benchmark, for its tests."""

from lapsum_cli.study.bench.cases import Choice
from lapsum_cli.study.bench.peers import find_peers


def choice(operations=("rank",), shapes=("6x50",), dtypes=("float32",), scores=("normal",), alpha=0.3, k="10", **more):
    """What a user might choose."""
    return Choice(list(operations), list(shapes), list(dtypes), list(scores), alpha, k, threads=None, **more)


def made(operation, shape="6x50", dtype="float32", scores="normal", **options):
    """A case, its inputs and the product's outputs for them."""
    [case] = choice([operation], [shape], [dtype], [scores], **options).shape_cases()
    inputs = case.inputs()
    return case, inputs, case.outputs(*inputs)


def uneven(operation, shape="60xlognormal:20", dtype="float32", scores="normal", alpha=0.3, k="10%"):
    """The same of rankings that differ in length."""
    [case] = choice([operation], [shape], [dtype], [scores], alpha, k).uneven_cases()
    inputs = case.inputs()
    return case, inputs, case.outputs(*inputs)


def side(name, operation):
    """What a peer does in memory in place of the operation."""
    [function] = [peer.in_memory[operation] for peer in find_peers([name], ["shapes"]) if operation in peer.in_memory]
    return function
