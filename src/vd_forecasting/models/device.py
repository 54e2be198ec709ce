"""The device a network is trained on."""

import os
from collections.abc import Callable

import torch

REPEATABLE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""What cuBLAS reads when it starts: with it, a product on CUDA is the same every time."""

NAMES = ("auto", "cpu", "gpu", "cuda", "mps")


def find_device(accelerator: str) -> torch.device:
    """The device that ``compute.accelerator`` names; ``gpu`` is CUDA or MPS, ``auto`` the best.

    A ValueError says that the name is not known, or that this machine has no such device.
    """
    if accelerator not in NAMES:
        raise ValueError(
            f"compute.accelerator is {accelerator!r}, which is not known; "
            f"there are {', '.join(NAMES)}"
        )
    # cuda.is_available would start CUDA, and a process forked afterwards could not use it.
    gpus = ["cuda"] * (torch.cuda.device_count() > 0)
    gpus += ["mps"] * torch.backends.mps.is_available()
    kinds = {"auto": [*gpus, "cpu"], "gpu": gpus}.get(accelerator, [accelerator])
    if not kinds or kinds[0] not in (*gpus, "cpu"):
        raise ValueError(
            f"compute.accelerator is {accelerator!r}, but torch {torch.__version__} finds "
            f"{' and '.join(gpus) or 'no GPU'} on this machine; choose {', '.join([*gpus, 'cpu'])} "
            "or auto"
        )
    if kinds[0] == "cuda":
        os.environ.setdefault(*REPEATABLE)
    return torch.device(kinds[0])


def choose_gpu(number: Callable[[], int]) -> None:
    """Let this thread use one of several GPUs: that of its ``number()``, counted round."""
    if (count := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(number() % count)
