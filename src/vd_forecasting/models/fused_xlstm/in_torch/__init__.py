"""The blocks in plain torch: any device and type, and what export traces."""

from vd_forecasting.models.fused_xlstm.in_torch.blocks import mlstm_block, slstm_block

__all__ = ["mlstm_block", "slstm_block"]
