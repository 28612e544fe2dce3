"""Names of the plugin's pool and unpool operators, from contract.json; native code uses it too."""

from __future__ import annotations

import json
from importlib import resources

CONTRACT = json.loads(
    resources.files("segnet_deploy.passes").joinpath("contract.json").read_text("utf-8")
)
DOMAIN: str = CONTRACT["domain"]
POOL: str = CONTRACT["pool"]["op_type"]
UNPOOL: str = CONTRACT["unpool"]["op_type"]
PLUGIN_VERSION: str = CONTRACT["plugin_version"]
PLUGIN_NAMESPACE: str = CONTRACT["plugin_namespace"]
