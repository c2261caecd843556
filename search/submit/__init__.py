"""Files that start workers under another scheduler: a Slurm script, Kubernetes manifests."""
