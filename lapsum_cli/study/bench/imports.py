"""A process that imports what one of lapsum needs, and does nothing: the floor of a run. A script of its own.

Where pandas and SciPy are installed, PyArrow and Numba import them; lapsum keeps them out, and so does this.
"""

import sys


class Without:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name in ("pandas", "scipy"):
            raise ModuleNotFoundError(name=name)


sys.meta_path.insert(0, Without)
for name in ("numpy", "numba", "pyarrow.parquet"):
    __import__(name)
