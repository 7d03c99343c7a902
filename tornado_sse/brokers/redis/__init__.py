"""The broker on Redis or Valkey. What is in the engine, and who may read it: docs/engines.md."""
