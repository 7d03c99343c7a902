"""The OpenAPI document of the public operations."""
