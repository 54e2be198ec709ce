"""The blocks of the ``xlstm`` package, several times faster.

The package's modules keep the parameters; the functions here only compute with them. So a
checkpoint is the same whichever backend wrote it. A block is computed by what numba compiles or in
plain torch, both after the same rewriting of its equations.
"""

from vd_forecasting.models.fused_xlstm.choice import mlstm_block, slstm_block

__all__ = ["mlstm_block", "slstm_block"]
