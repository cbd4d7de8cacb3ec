"""SavedModel export: `export_saved_model` (two-stream network), `export_vpn`, and `read_description` for both."""

from keras_actrec.export.saved_model import ExportDescription, VPNDescription, read_description
from keras_actrec.export.sta_hands import export_saved_model
from keras_actrec.export.vpn import export_vpn

__all__ = ["ExportDescription", "VPNDescription", "export_saved_model", "export_vpn", "read_description"]
