"""Sources of frames: `base` is the protocol, `find` maps a URI to one; one file per kind."""
