"""Several networks computed at once, by ``torch.vmap``, are each computed alone."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models.test_forecaster import LSTM
