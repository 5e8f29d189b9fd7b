"""What trials and sweeps leave behind, on a disk or an object store."""
