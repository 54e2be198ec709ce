"""The blocks of the ``xlstm`` package, several times faster on a CPU.

The package's modules keep the parameters; the functions here only compute with them. So a
checkpoint is the same whichever backend wrote it. Blocks consist of layers, and layers of matrix
products with kernels between them, in plain torch or compiled by numba.
"""

from vd_forecasting.models.fused_xlstm.choice import mlstm_block, slstm_block

__all__ = ["mlstm_block", "slstm_block"]
