"""Where energies meet solvers: recipes, stages, the start, the result. `hrnfit.fit(...)` fits.

Python binds this package to the name `hrnfit.fit` whenever a module of it is imported, so the
package itself is callable: it stands for the function `hrnfit.fit.fit.fit`.
"""

import sys
from types import ModuleType

_ABOUT = __doc__


class _FitPackage(ModuleType):
    @property
    def __doc__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What `help(hrnfit.fit)` and `hrnfit.fit?` show: the function's own words first."""
        return f"hrnfit.fit{self.__signature__}\n\n{self.__call__.__doc__}\n{_ABOUT}"

    @property
    def __call__(self):
        from hrnfit.fit.fit import fit

        return fit

    @property
    def __signature__(self):
        import inspect

        return inspect.signature(self.__call__)


sys.modules[__name__].__class__ = _FitPackage
