from pathlib import Path

import pytest

from cosmos.config.gpus import GPUS, Gpu, gpu_of_kind, gpu_of_name
from cosmos.config.machine import Machine
from cosmos.errors import InputError

OWN = (
    "gpus:\n  mi250x: {names: [MI250X], memory_gb: 64, float32: 20, half: 180, watts: 280, nvlink_gb: 100}\n"
)


def machine_with(folder: Path, monkeypatch: pytest.MonkeyPatch, machine_yaml: str) -> Machine:
    """Return the settings of a machine with this machine.yaml."""
    monkeypatch.chdir(folder)
    (folder / "machine.yaml").write_text(machine_yaml)
    return Machine()


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
    names = [name for gpu in GPUS.values() for name in gpu.names]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("NVIDIA")]
    assert all(gpu.half > gpu.float32 and gpu.memory_gb >= 16 for gpu in GPUS.values())


def test_each_kind_has_links_power_and_a_source() -> None:
    assert all(gpu.kind == kind and gpu.source for kind, gpu in GPUS.items())
    assert all(70 <= gpu.watts <= 1200 and gpu.pcie_gb in (32, 64, 128) for gpu in GPUS.values())
    assert gpu_of_kind("a100-40gb").link_bytes_per_second == 300e9
    assert gpu_of_kind("a100-pcie-40gb").link_bytes_per_second == 32e9


@pytest.mark.parametrize("name", ["a100-40gb", "A100-40GB", "A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB"])
def test_a_kind_is_asked_for_by_its_short_name_or_its_drivers(name: str) -> None:
    assert gpu_of_kind(name).kind == "a100-40gb"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a100", r"^'a100' is no kind of GPU; near it: a100-40gb, a100-80gb, .*; `gpus` in machine\.yaml"),
        ("h10O", r"near it: h100"),
        ("", r"'' is no kind of GPU; there are: v100-16gb, "),
    ],
)
def test_an_unknown_kind_is_refused_with_those_near_it(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        gpu_of_kind(name)


def test_kinds_of_ones_own_are_known_by_short_name_and_by_the_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = machine_with(tmp_path, monkeypatch, OWN).gpus
    gpu = gpu_of_kind("mi250x", own)
    assert gpu is gpu_of_name("MI250X", own)
    assert (gpu.kind, gpu.peak_flops("bf16"), gpu.link_bytes_per_second) == ("mi250x", 180e12, 50e9)
    monkeypatch.setenv("COSMOS_GPUS", '{"h100": {"memory_gb": 64, "float32": 50, "half": 600, "watts": 500}}')
    assert gpu_of_kind("h100", Machine().gpus).memory_gb == 64
    assert gpu_of_kind("h100").memory_gb == 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpus: {x: {memory_gb: 0, float32: 1, half: 2, watts: 3}}", r"gpus\.x\.memory_gb: .*greater than 0"),
        (
            "gpus: {x: {memory_gb: 8, float32: 1, half: 2}}",
            r"gpus\.x\.watts: .*required.*machine\.yaml, line 1",
        ),
        (
            "gpus: {x: {memory_gb: 8, float32: 1, half: 2, wats: 3}}",
            r"gpus\.x\.wats: no such key; near it: watts",
        ),
        (
            "gpus: {x: {memory_gb: .inf, float32: 1, half: 2, watts: 3}}",
            r"memory_gb: expected a finite number",
        ),
        ("gpus: {x: {memory_gb: yes, float32: 1, half: 2, watts: 3}}", r"memory_gb: .*number"),
        ("gpus: {My GPU: {memory_gb: 8, float32: 1, half: 2, watts: 3}}", r"gpus\.My GPU.*pattern"),
        ("gpus: [h100]", r"gpus: expected keys and values below it"),
        ("site: {pue: 0.9}", r"site\.pue: .*greater than or equal to 1"),
        ("site: {gpu_hour_price: -1}", r"site\.gpu_hour_price: .*greater than or equal to 0 \(given: -1"),
    ],
)
def test_figures_that_no_gpu_or_site_has_are_named_with_file_and_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=message):
        machine_with(tmp_path, monkeypatch, text)


def test_a_gpu_of_ones_own_needs_no_name_of_a_driver() -> None:
    assert Gpu(memory_gb=8, float32=1, half=2, watts=3).names == ()
