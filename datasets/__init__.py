"""Images: sources, the Arrow store, and views made in batches on the device."""
