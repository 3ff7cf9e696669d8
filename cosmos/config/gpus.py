"""Kinds of GPU: memory, peaks of arithmetic, links and power, as of the vendor's data sheets.

machine.yaml may add kinds of one's own, or other figures of one here, below `gpus`.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints

from cosmos.config.near_names import near_names
from cosmos.config.section import Amount, Precision, Section, Weight
from cosmos.errors import InputError

TERA = 1e12

VENDOR = "NVIDIA "
"""Beginning of the names that the driver gives, which the names here lack."""

GpuName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=40)]


class Gpu(Section):
    """Figures of a kind of GPU. Peaks are those of products of dense matrices, in TFLOP/s."""

    kind: str = ""
    """short name, by which requests and `cosmos plan` ask for it"""
    names: tuple[str, ...] = ()
    """names as torch.cuda.get_device_name returns them, without NVIDIA in front"""
    memory_gb: Amount
    """memory, in the GB of the data sheet"""
    float32: Amount
    """peak without tensor cores: torch takes TF32 for products only where it is told to"""
    half: Amount
    """peak of tensor cores for fp16, and for bf16 where there is any, summed in float32"""
    has_bf16: bool = True
    """false: the GPU has no arithmetic of bf16, so that its peak is not known"""
    watts: Amount
    """largest power that it takes"""
    nvlink_gb: Weight = 0.0
    """GB/s, in both directions together, to all other GPUs of its node; 0: they are reached by PCIe"""
    pcie_gb: Amount = 64.0
    """GB/s, in both directions together, by PCIe: 64 are 16 lanes of generation 4"""
    source: str = ""
    """document that the figures are taken from"""

    def peak_flops(self, precision: Precision) -> float | None:
        """Return the floating-point operations per second that are possible; None where not known."""
        if precision == "float32":
            return self.float32 * TERA
        return self.half * TERA if self.has_bf16 or precision == "fp16" else None

    @property
    def link_bytes_per_second(self) -> float:
        """Bytes a second that it sends to another GPU of its node, in one direction."""
        return (self.nvlink_gb or self.pcie_gb) * 1e9 / 2


GpuKinds = Mapping[str, Gpu]
"""Kinds of GPU by their short names."""


_Row = tuple[str, str, float, float, float, float, float, float]

_ROWS: dict[str, tuple[_Row, ...]] = {
    "V100": (
        ("v100-16gb", "Tesla V100-SXM2-16GB", 16, 15.7, 125, 300, 300, 32),
        ("v100-32gb", "Tesla V100-SXM2-32GB", 32, 15.7, 125, 300, 300, 32),
        ("v100-pcie-16gb", "Tesla V100-PCIE-16GB", 16, 14, 112, 250, 0, 32),
        ("v100-pcie-32gb", "Tesla V100-PCIE-32GB", 32, 14, 112, 250, 0, 32),
    ),
    "V100S": (("v100s", "Tesla V100S-PCIE-32GB", 32, 16.4, 130, 250, 0, 32),),
    "T4": (("t4", "Tesla T4, T4", 16, 8.1, 65, 70, 0, 32),),
    "A100": (
        ("a100-40gb", "A100-SXM4-40GB", 40, 19.5, 312, 400, 600, 64),
        ("a100-80gb", "A100-SXM4-80GB", 80, 19.5, 312, 400, 600, 64),
        ("a100-pcie-40gb", "A100-PCIE-40GB", 40, 19.5, 312, 250, 0, 64),
        ("a100-pcie-80gb", "A100 80GB PCIe", 80, 19.5, 312, 300, 0, 64),
    ),
    "A800": (
        ("a800-80gb", "A800-SXM4-80GB", 80, 19.5, 312, 400, 400, 64),
        ("a800-pcie-80gb", "A800 80GB PCIe", 80, 19.5, 312, 300, 0, 64),
    ),
    "A30": (("a30", "A30", 24, 10.3, 165, 165, 0, 64),),
    "A10": (("a10", "A10", 24, 31.2, 125, 150, 0, 64),),
    "A40": (("a40", "A40", 48, 37.4, 149.7, 300, 0, 64),),
    "RTX A5000": (("rtx-a5000", "RTX A5000", 24, 27.8, 111.1, 230, 0, 64),),
    "RTX A6000": (("rtx-a6000", "RTX A6000", 48, 38.7, 154.8, 300, 0, 64),),
    "H100": (
        ("h100", "H100 80GB HBM3", 80, 67, 989.5, 700, 900, 128),
        ("h100-pcie", "H100 PCIe", 80, 51, 756, 350, 0, 128),
        ("h100-nvl", "H100 NVL", 94, 60, 835.5, 400, 0, 128),
    ),
    "GH200": (("gh200", "GH200 120GB, GH200 480GB", 96, 67, 989.5, 1000, 0, 128),),
    "H20": (("h20", "H20", 96, 44, 148, 400, 900, 128),),
    "H200": (
        ("h200", "H200", 141, 67, 989.5, 700, 900, 128),
        ("h200-nvl", "H200 NVL", 141, 60, 835.5, 600, 0, 128),
    ),
    "L4": (("l4", "L4", 24, 30.3, 121, 72, 0, 64),),
    "L40": (("l40", "L40", 48, 90.5, 181, 300, 0, 64),),
    "L40S": (("l40s", "L40S", 48, 91.6, 362, 350, 0, 64),),
    "RTX 6000 Ada Generation": (("rtx-6000-ada", "RTX 6000 Ada Generation", 48, 91.1, 364.2, 300, 0, 64),),
    "HGX B200": (("b200", "B200", 180, 75, 2250, 1000, 1800, 128),),
    "GB200 NVL72": (("gb200", "GB200", 186, 80, 2500, 1200, 1800, 128),),
    "GA102 white paper": (("rtx-3090", "GeForce RTX 3090", 24, 35.6, 71, 350, 0, 64),),
    "AD102 white paper": (("rtx-4090", "GeForce RTX 4090", 24, 82.6, 165.2, 450, 0, 64),),
    "GB202 white paper": (("rtx-5090", "GeForce RTX 5090", 32, 104.8, 209.5, 575, 0, 128),),
}
"""NVIDIA's data sheets by product, of whose kinds each row has: kind, names, memory_gb, float32, half, watts,
nvlink_gb, pcie_gb. Sparsity, which doubles `half`, is left out, and so are bridges of NVLink, which join two
cards alone. GeForce cards, whose sheets have no peaks: white papers, sums in float32."""

_WITHOUT_BF16 = ("V100", "V100S", "T4")


def _read_row(sheet: str, row: _Row) -> Gpu:
    kind, names, memory, float32, half, watts, nvlink, pcie = row
    return Gpu(
        kind=kind,
        names=tuple(names.split(", ")),
        memory_gb=memory,
        float32=float32,
        half=half,
        has_bf16=sheet not in _WITHOUT_BF16,
        watts=watts,
        nvlink_gb=nvlink,
        pcie_gb=pcie,
        source=f"NVIDIA, {sheet}" if "paper" in sheet else f"NVIDIA, {sheet} data sheet",
    )


GPUS: GpuKinds = {row[0]: _read_row(sheet, row) for sheet, rows in _ROWS.items() for row in rows}
"""GPUs whose figures are known. Others, and parts of these (MIG), have no peak."""


def gpu_of_name(name: str, own: GpuKinds | None = None) -> Gpu | None:
    """Return the GPU that the driver calls `name`, one's own kinds first; None for one that is not listed."""
    name = name.removeprefix(VENDOR)
    kinds = {**GPUS, **(own or {})}
    return next((gpu for gpu in reversed(kinds.values()) if name in gpu.names), None)


def gpu_of_kind(kind: str, own: GpuKinds | None = None) -> Gpu:
    """Return the GPU of a short name, such as a100-40gb, or of its driver's, one's own kinds first.

    Raises InputError, with names near it, for one that is not listed.
    """
    kinds = {**GPUS, **(own or {})}
    gpu = kinds.get(kind.lower()) or gpu_of_name(kind, own)
    if gpu is None:
        begun = [name for name in kinds if name.startswith(kind.lower())] if kind else []
        near = f"near it: {', '.join(begun)}" if begun else near_names(kind, kinds)
        raise InputError(f"{kind!r} is no kind of GPU; {near}; `gpus` in machine.yaml adds one's own")
    return gpu
