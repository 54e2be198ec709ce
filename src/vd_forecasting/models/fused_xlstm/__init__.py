"""The blocks of the ``xlstm`` package, several times faster on a CPU.

The package's modules keep the parameters; the functions here only compute with them. So a
checkpoint is the same whichever backend wrote it.

- :mod:`.blocks`: a whole block, as the package composes it, with dropout and the norm of heads.
- :mod:`.mlstm`, :mod:`.slstm`: its layers, each one autograd function with its gradient by hand.
- :mod:`.torch_kernels`: what lies between the matrix products, in plain torch.
- :mod:`.numba_kernels`: the same compiled, for float32 on a CPU; :mod:`.kernels` chooses.
- :mod:`.threads`: compiled kernels on torch's own threads.
"""

from vd_forecasting.models.fused_xlstm.blocks import mlstm_block, slstm_block

__all__ = ["mlstm_block", "slstm_block"]
