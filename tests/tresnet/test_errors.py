"""The tree of errors is the one that its module draws."""

import inspect

from tresnet import errors


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = [
        line.strip("│├└─ ").split()[0] for line in errors.__doc__.splitlines() if "Error" in line
    ]
    real = [name for name, value in vars(errors).items() if inspect.isclass(value)]
    assert drawn == real
    assert all(issubclass(getattr(errors, name), errors.TResNetError) for name in real)
    under = [name for name in real if issubclass(getattr(errors, name), errors.CheckpointError)]
    assert under == real[real.index("CheckpointError") :]
