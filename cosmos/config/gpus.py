"""GPUs by the names of their driver: memory, and peaks of arithmetic, as of the vendor's data sheets."""

from dataclasses import dataclass

from cosmos.config.section import Precision

TERA = 1e12


@dataclass(frozen=True)
class Gpu:
    """A model of GPU. Peaks are those of products of dense matrices, in TFLOP/s."""

    names: tuple[str, ...]
    """names as torch.cuda.get_device_name returns them, without NVIDIA in front"""
    memory_gb: float
    """memory, in the GB of the data sheet"""
    float32: float
    """peak without tensor cores: torch takes TF32 for products only where it is told to"""
    half: float
    """peak of tensor cores for fp16, and for bf16 where there is any, summed in float32"""
    has_bf16: bool = True
    """False: the GPU has no arithmetic of bf16, so that its peak is not known"""

    def peak_flops(self, precision: Precision) -> float | None:
        """Return the floating-point operations per second that are possible; None where not known."""
        if precision == "float32":
            return self.float32 * TERA
        return self.half * TERA if self.has_bf16 or precision == "fp16" else None


# Sources: NVIDIA's data sheets of the products named in front; sparsity, which doubles `half`, is left out.
# Peaks of GeForce cards, whose sheets have none: white papers of GA102, AD102 and GB202 (sums in float32).
GPUS = (
    # "Tesla V100", "V100S"
    Gpu(("Tesla V100-SXM2-16GB",), 16, 15.7, 125, has_bf16=False),
    Gpu(("Tesla V100-SXM2-32GB",), 32, 15.7, 125, has_bf16=False),
    Gpu(("Tesla V100-PCIE-16GB",), 16, 14, 112, has_bf16=False),
    Gpu(("Tesla V100-PCIE-32GB",), 32, 14, 112, has_bf16=False),
    Gpu(("Tesla V100S-PCIE-32GB",), 32, 16.4, 130, has_bf16=False),
    # "T4"
    Gpu(("Tesla T4", "T4"), 16, 8.1, 65, has_bf16=False),
    # "A100", "A800"
    Gpu(("A100-SXM4-40GB", "A100-PCIE-40GB"), 40, 19.5, 312),
    Gpu(("A100-SXM4-80GB", "A100 80GB PCIe", "A800-SXM4-80GB", "A800 80GB PCIe"), 80, 19.5, 312),
    # "A30", "A10", "A40", "RTX A5000", "RTX A6000"
    Gpu(("A30",), 24, 10.3, 165),
    Gpu(("A10",), 24, 31.2, 125),
    Gpu(("A40",), 48, 37.4, 149.7),
    Gpu(("RTX A5000",), 24, 27.8, 111.1),
    Gpu(("RTX A6000",), 48, 38.7, 154.8),
    # "H100", "H200", "GH200", "H20"
    Gpu(("H100 PCIe",), 80, 51, 756),
    Gpu(("H100 80GB HBM3",), 80, 67, 989.5),
    Gpu(("H100 NVL",), 94, 60, 835.5),
    Gpu(("GH200 120GB", "GH200 480GB"), 96, 67, 989.5),
    Gpu(("H20",), 96, 44, 148),
    Gpu(("H200",), 141, 67, 989.5),
    Gpu(("H200 NVL",), 141, 60, 835.5),
    # "L4", "L40", "L40S", "RTX 6000 Ada Generation"
    Gpu(("L4",), 24, 30.3, 121),
    Gpu(("L40",), 48, 90.5, 181),
    Gpu(("L40S",), 48, 91.6, 362),
    Gpu(("RTX 6000 Ada Generation",), 48, 91.1, 364.2),
    # "HGX B200", "GB200 NVL72", by the number of their GPUs
    Gpu(("B200",), 180, 75, 2250),
    Gpu(("GB200",), 186, 80, 2500),
    # "GeForce RTX"
    Gpu(("GeForce RTX 3090",), 24, 35.6, 71),
    Gpu(("GeForce RTX 4090",), 24, 82.6, 165.2),
    Gpu(("GeForce RTX 5090",), 32, 104.8, 209.5),
)
"""GPUs whose figures are known. Others, and parts of these (MIG), have no peak."""

_BY_NAME = {name: gpu for gpu in GPUS for name in gpu.names}


def gpu_of_name(name: str) -> Gpu | None:
    """Return the GPU that the driver calls `name`; None for one that is not listed."""
    return _BY_NAME.get(name.removeprefix("NVIDIA "))
