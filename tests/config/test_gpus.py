import pytest

from cosmos.config.gpus import GPUS, gpu_of_name


def test_a_gpu_is_the_same_with_and_without_the_vendor_in_its_name() -> None:
    gpu = gpu_of_name("NVIDIA H100 80GB HBM3")
    assert gpu
    assert gpu is gpu_of_name("H100 80GB HBM3")
    assert (gpu.memory_gb, gpu.peak_flops("float32"), gpu.peak_flops("bf16")) == (80, 67e12, 989.5e12)


def test_a_gpu_without_bf16_has_no_peak_of_it() -> None:
    gpu = gpu_of_name("Tesla V100-SXM2-32GB")
    assert gpu
    assert (gpu.peak_flops("bf16"), gpu.peak_flops("fp16")) == (None, 125e12)


@pytest.mark.parametrize("name", ["", "NVIDIA", "NVIDIA A100-SXM4-80GB MIG 3g.40gb", "NVIDIA H100", "cpu"])
def test_parts_of_a_gpu_and_names_that_are_not_listed_are_unknown(name: str) -> None:
    assert gpu_of_name(name) is None


def test_no_name_stands_twice_and_tensor_cores_are_faster() -> None:
    names = [name for gpu in GPUS for name in gpu.names]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("NVIDIA")]
    assert all(gpu.half > gpu.float32 and gpu.memory_gb >= 16 for gpu in GPUS)
