"""The limits that hold for one feature."""

from vd_forecasting.parameters import Cleaning, FeatureCleaning


def limits_of(cleaning: Cleaning, feature: str) -> FeatureCleaning:
    """The limits of a feature, listed or not; its own error codes replace the shared ones."""
    own = cleaning.features.get(feature, FeatureCleaning(unit=""))
    codes = cleaning.error_codes if own.error_codes is None else own.error_codes
    return own.model_copy(update={"error_codes": codes})
