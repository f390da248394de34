"""One file per format: each reads (and where useful writes) scenes in one format."""
