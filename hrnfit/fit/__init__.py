"""Where energies meet solvers: recipes, stages, the start, the result. `hrnfit.fit(...)` fits.

Python binds this package to the name `hrnfit.fit` whenever a module of it is imported, so the
package itself is callable: it stands for the function `hrnfit.fit.fit.fit`.
"""

import sys
from types import ModuleType


class _FitPackage(ModuleType):
    @property
    def __call__(self):
        from hrnfit.fit.fit import fit

        return fit

    @property
    def __signature__(self):
        import inspect

        return inspect.signature(self.__call__)


sys.modules[__name__].__class__ = _FitPackage
