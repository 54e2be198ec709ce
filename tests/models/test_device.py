import pytest
import torch

from vd_forecasting.models.device import find_device


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "accelerator", "device"),
    [
        (0, False, "auto", "cpu"),
        (2, False, "auto", "cuda"),
        (0, True, "auto", "mps"),
        (2, False, "gpu", "cuda"),
        (0, True, "gpu", "mps"),
        (1, False, "cuda", "cuda"),
        (0, True, "mps", "mps"),
        (2, True, "cpu", "cpu"),
    ],
)
def test_every_name_finds_its_device(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, accelerator: str, device: str
) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert find_device(accelerator) == torch.device(device)


@pytest.mark.parametrize(
    ("cuda", "accelerator", "message"),
    [
        (0, "gpu", r"is 'gpu', but torch \S+ finds no GPU on this machine; choose cpu or auto$"),
        (0, "cuda", r"is 'cuda', but torch \S+ finds no GPU on this machine; choose cpu or auto$"),
        (1, "mps", r"is 'mps', but torch \S+ finds cuda on this machine; choose cuda, cpu or auto"),
        (1, "tpu", "is 'tpu', which is not known; there are auto, cpu, gpu, cuda, mps$"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, cuda: int, accelerator: str, message: str
) -> None:
    machine(monkeypatch, cuda=cuda)
    with pytest.raises(ValueError, match=f"^compute.accelerator {message}"):
        find_device(accelerator)
