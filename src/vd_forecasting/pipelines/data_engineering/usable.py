"""Which VDs hold enough values to train on."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.datasets.vd_blocks import VDS_PER_CHUNK


def targets_in(vd_clean: xr.DataArray, target_features: Sequence[str]) -> list[str]:
    """Those of ``target_features`` the file has; if it has none of them, all its features."""
    features = [str(name) for name in vd_clean["feature"].to_numpy()]
    return [name for name in target_features if name in features] or features


def observed_share(vd: xr.DataArray) -> npt.NDArray[np.float64]:
    """Share of time steps with a finite value, [vd, feature]."""
    finite = np.isfinite(vd.transpose("time", "vd", "feature").to_numpy())
    share: npt.NDArray[np.float64] = finite.mean(axis=0)
    return share


def usable_vds(
    vd_clean: xr.DataArray, target_features: Sequence[str], min_observed: float
) -> Iterator[str]:
    """VDIDs, in file order, of the VDs fit for training; reads no further than is asked for.

    A VD is fit when each target feature the file has is observed in at least the share
    ``min_observed`` of all time steps. If the file has none of the target features, every
    feature it has counts.
    """
    targets = vd_clean.sel(feature=targets_in(vd_clean, target_features))
    for start in range(0, targets.sizes["vd"], VDS_PER_CHUNK):
        few = targets.isel(vd=slice(start, start + VDS_PER_CHUNK))
        fit = (observed_share(few) >= min_observed).all(axis=1)
        yield from map(str, few["vd"].to_numpy()[fit])
