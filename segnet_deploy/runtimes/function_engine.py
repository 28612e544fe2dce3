"""An engine around a function: for tests, and for models that run elsewhere (PyTorch, say)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.base import Engine, Port, check_input
from segnet_deploy.types import Array


class FunctionEngine(Engine):
    """Calls `function` with the input; its result is the first output, or a dict of all by name.

    >>> import numpy as np
    >>> from segnet_deploy.runtimes import Port
    >>> image = Port("image", (1, 3, None, None), np.dtype(np.float32))
    >>> logits = Port("logits", (1, 2, None, None), np.dtype(np.float32))
    >>> engine = FunctionEngine(lambda x: x[:, :2], [image], [logits])
    >>> engine.run(np.zeros((1, 3, 4, 6), np.float32)).shape
    (1, 2, 4, 6)
    """

    def __init__(
        self,
        function: Callable[[Array], Array | dict[str, Array]],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        *,
        name: str = "function",
        metadata: Metadata | None = None,
        computes_half: bool = False,
    ):
        self._function, self._computes_half = function, computes_half
        self.inputs, self.outputs, self.name = tuple(inputs), tuple(outputs), name
        self.metadata = metadata or Metadata()

    @property
    def computes_half(self) -> bool:
        return self._computes_half

    def run_all(self, x: Array) -> dict[str, Array]:
        """Call the function. Raises InputError if `x` does not fit the input."""
        check_input(self.inputs[0], x)
        result = self._function(x)
        return result if isinstance(result, dict) else {self.outputs[0].name: result}
