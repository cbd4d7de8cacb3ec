"""SavedModel export: one function for each model, and `read_description` for all of them."""

from keras_actrec.export.glimpse_clouds import export_glimpse_clouds
from keras_actrec.export.rpan import export_rpan
from keras_actrec.export.saved_model import (
    ExportDescription,
    GlimpseCloudsDescription,
    RPANDescription,
    VPNDescription,
    read_description,
)
from keras_actrec.export.sta_hands import export_saved_model
from keras_actrec.export.vpn import export_vpn

__all__ = [
    "ExportDescription",
    "GlimpseCloudsDescription",
    "RPANDescription",
    "VPNDescription",
    "export_glimpse_clouds",
    "export_rpan",
    "export_saved_model",
    "export_vpn",
    "read_description",
]
