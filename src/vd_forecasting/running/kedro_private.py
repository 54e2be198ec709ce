"""The only module that touches private parts of Kedro 1.7: an upgrade has to look here alone."""

from kedro.config import OmegaConfigLoader


def environment_folder(loader: OmegaConfigLoader, environment: str) -> str:
    """The folder of an environment, which may lie in an archive or in an object store."""
    folder: str = loader._get_conf_env_path(environment)
    return folder
