"""`make kubernetes-check`: renders the manifests, checks every pod, and runs some of them where podman is available."""
