"""The backbones that a configuration can name."""

from typing import Annotated

from pydantic import Field

from model.backbone_base import Backbone
from model.ir import IR50, SmallIR
from model.mobilefacenet import MobileFaceNet

__all__ = ["IR50", "Backbone", "BackboneConfig", "MobileFaceNet", "SmallIR"]

BackboneConfig = Annotated[IR50.Config | MobileFaceNet.Config | SmallIR.Config, Field(discriminator="name")]
