"""How many processes an evaluation has, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.errors import UsageError
from pipeline.eval.computing import Computing, computing


def test_a_large_model_has_fewer_processes_than_there_are_cores() -> None:
    def processes(parameters: int, requested: int | None = None, device: str = "cpu") -> int:
        return Computing(device=device, dtype="fp32", requested=requested, most=64).processes(parameters)

    assert processes(1_000) == 64
    assert processes(10**15) == 1
    assert processes(10**15, requested=3) == 3
    assert processes(10**15, device="cuda") == 64


def test_a_cpu_computes_in_fp32() -> None:
    how = computing("cpu", "auto", None, cores=5)
    assert (how.device, how.dtype, how.most) == ("cpu", "fp32", 5)


@pytest.mark.parametrize(("device", "dtype"), [("gpu", "auto"), ("cpu", "fp8")])
def test_what_there_is_not_is_refused(device: str, dtype: str) -> None:
    with pytest.raises(UsageError, match="choose from"):
        computing(device, dtype, None, cores=1)
