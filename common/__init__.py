"""What two or more tools need. Imports nothing from `tools`."""
