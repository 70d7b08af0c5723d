"""Scripts of this repository. vidstyle is imported first, because it turns off the telemetry of ONNX Runtime."""

import vidstyle  # noqa: F401
