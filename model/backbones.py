"""The backbones that a configuration can name."""

from typing import Annotated

from pydantic import Field

from model.backbone_base import Backbone
from model.ir import IR18, IR34, IR50, SmallIR
from model.mobilefacenet import MobileFaceNet
from model.onnx_backbone import OnnxBackbone
from model.resnet import ResNet18, ResNet34, ResNet50

__all__ = [
    "IR18",
    "IR34",
    "IR50",
    "Backbone",
    "BackboneConfig",
    "MobileFaceNet",
    "OnnxBackbone",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "SmallIR",
]

BackboneConfig = Annotated[
    IR50.Config
    | IR18.Config
    | IR34.Config
    | ResNet18.Config
    | ResNet34.Config
    | ResNet50.Config
    | MobileFaceNet.Config
    | SmallIR.Config
    | OnnxBackbone.Config,
    Field(discriminator="name"),
]
