"""Memory of devices: the most that was held of it, and errors for too little of a GPU's."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cosmos.errors import OutOfMemoryError

CUDA_OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation: CUDA's number for an allocation that failed."""

GIB = 2**30

OTHER_GPU = "wait for them, or take another GPU: COSMOS_DEVICE=cuda:1"
"""Remedy where other processes hold a GPU's memory."""


def peak_memory(device: torch.device) -> int:
    """Return the largest memory in bytes that this process held on its device.

    Of a GPU it is what torch had allocated since `forget_peak_memory`; on a CPU the resident memory since the
    process began, with program and libraries.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_memory()


def forget_peak_memory(device: torch.device) -> None:
    """Begin the measurement of `peak_memory` anew; on a CPU it goes on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_resident_memory() -> int:
    """Return the largest resident memory of this process in bytes.

    By getrusage, a process begins with that of the one that started it; some sandboxes know no other.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def take_gpu(device: torch.device) -> None:
    """Make `device` this process's GPU. Raises OutOfMemoryError where other processes fill it."""
    try:
        torch.cuda.set_device(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        message = f"{device}: other processes hold all of its memory (nvidia-smi lists them); {OTHER_GPU}"
        raise OutOfMemoryError(message) from error


@contextmanager
def explaining_full_gpus(task: str, remedy: str) -> Iterator[None]:
    """Raise OutOfMemoryError where a GPU has too little memory for what is done meanwhile.

    The message begins with `task`, such as "a step needs", and ends in the remedy: another one where other
    processes hold half of the GPU or more.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).partition(".")[0].partition("\n")[0]
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            holders, is_taken = describe_holders()
            reason, remedy = f"{reason}: {holders}", OTHER_GPU if is_taken else remedy
        raise OutOfMemoryError(f"{task} more memory than the GPU has left ({reason}); {remedy}") from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return True for an error of torch, CUDA or cuBLAS that is a lack of the GPU's memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, torch.AcceleratorError):
        return getattr(error, "error_code", None) == CUDA_OUT_OF_MEMORY
    return "CUBLAS_STATUS_ALLOC_FAILED" in str(error)  # a plain RuntimeError bears no other mark


def describe_holders() -> tuple[str, bool]:
    """Return who holds the memory of this process's GPU, and True where others hold half of it or more."""
    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_reserved()
    others = max(0, total - free - own)
    text = f"of {total / GIB:.1f} GiB this process holds {own / GIB:.1f}, other processes {others / GIB:.1f}"
    return text, others >= total / 2
