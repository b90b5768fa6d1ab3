"""The base of every component's nested Config."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen settings of one component; an unknown key, NaN or infinity is a validation error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
