"""The blocks compiled by numba: float32 on a CPU.

Each is one function with a gradient. Its kernel takes a few windows from the block's input to its
output, so that what lies in between stays in the processor's caches. It does one part of the
windows; the parts are done on as many threads, and what they add up is kept apart until all are
done, so that the same number of threads gives the same numbers. Numba keeps the compiled code
beside the kernels' files.
"""

from vd_forecasting.models.fused_xlstm.compiled.kernel import lanes_of
from vd_forecasting.models.fused_xlstm.compiled.mlstm import mlstm_block
from vd_forecasting.models.fused_xlstm.compiled.mlstm_kernels import MOST_HEADS
from vd_forecasting.models.fused_xlstm.compiled.slstm import slstm_block

__all__ = ["MOST_HEADS", "lanes_of", "mlstm_block", "slstm_block"]
