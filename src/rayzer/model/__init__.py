"""The models: RayZer and LVSM, built from one block, one transformer and one renderer."""
