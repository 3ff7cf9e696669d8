"""A GPU with too little memory, or none left: errors by the marks that torch, CUDA and cuBLAS give."""

import pytest
import torch

from cosmos.distributed.device_memory import (
    GIB,
    explaining_full_gpus,
    forget_peak_memory,
    peak_memory,
    take_gpu,
)
from cosmos.errors import OutOfMemoryError


def accelerator_error(code: int) -> torch.AcceleratorError:
    error = torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'")
    error.error_code = code  # type: ignore[attr-defined]
    return error


def test_the_peak_of_a_cpu_is_the_most_that_the_process_held() -> None:
    forget_peak_memory(torch.device("cpu"))
    before = peak_memory(torch.device("cpu"))
    held = torch.ones(before // 4 + 2**25)  # more than there ever was
    assert peak_memory(torch.device("cpu")) > max(before, held.nbytes)


def test_the_peak_of_a_gpu_is_what_torch_allocated_there(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 * GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forgotten.append)
    forget_peak_memory(torch.device("cuda:1"))
    assert (peak_memory(torch.device("cuda:1")), forgotten) == (7 * GIB, [torch.device("cuda:1")])


LACKS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    accelerator_error(2),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("lack", LACKS, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_names_what_needs_less(lack: RuntimeError) -> None:
    with (
        pytest.raises(
            OutOfMemoryError, match=r"^a step needs more .* than the GPU has left \(CUDA.*\); less$"
        ),
        explaining_full_gpus("a step needs", "less"),
    ):
        raise lack


@pytest.mark.parametrize(
    ("own", "others", "remedy"),
    [(70, 4, "less"), (4, 70, "wait for them, or take another GPU")],
)
def test_the_memory_of_other_processes_is_told_from_ones_own(
    monkeypatch: pytest.MonkeyPatch, own: int, others: int, remedy: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: ((80 - own - others) * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: own * GIB)
    expected = rf"of 80\.0 GiB this process holds {own}\.0, other processes {others}\.0\); {remedy}"
    with pytest.raises(OutOfMemoryError, match=expected), explaining_full_gpus("a step needs", "less"):
        raise LACKS[0]


def test_a_gpu_that_other_processes_fill_is_named_as_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise accelerator_error(2)

    monkeypatch.setattr(torch.cuda, "set_device", fail)
    with pytest.raises(OutOfMemoryError, match="cuda:0: other processes hold all of its memory"):
        take_gpu(torch.device("cuda", 0))


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), accelerator_error(700)])
def test_other_errors_stay_as_they_are(error: RuntimeError) -> None:
    with pytest.raises(type(error)) as caught, explaining_full_gpus("a step needs", "less"):
        raise error
    assert caught.value is error
